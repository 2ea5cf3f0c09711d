"""Training of the embedded model: crops, network, loop, figures. stemd itself needs none of it."""
