"""Songs with known stems, each from one seed: material for training, tests and the benchmark."""
