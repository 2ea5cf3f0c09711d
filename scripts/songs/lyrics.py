"""What is sung: words with their number of syllables. Nothing here is anybody's text."""

from typing import NamedTuple

import numpy as np

WORDS: dict[str, str] = {
    "en": "river-2 shining-2 home-1 carry-2 me-1 over-2 the-1 water-2 night-1 fire-2 falling-2 down-1 "
    "remember-3 summer-2 love-1 never-2 let-1 you-1 go-1 heart-1 morning-2 sky-1 golden-2 road-1 "
    "again-2 my-1 way-1 stars-1 dream-1 believe-2 tonight-2 baby-2 yeah-1 run-1 forever-3 light-1 "
    "whisper-2 secret-2 city-2 silver-2 dancing-2 shadow-2 time-1 stay-1 hold-1 breathe-1 ocean-2",
    "de": "Himmel-2 Licht-1 Nacht-1 Sterne-2 immer-2 Herz-1 Feuer-2 Wasser-2 gehen-2 allein-2 Zeit-1 "
    "Morgen-2 Liebe-2 fliegen-2 niemals-2 Traum-1 zurück-2 Straße-2 dein-1 ich-1 suche-2 schön-1",
    "es": "corazón-3 cielo-2 noche-2 camino-3 vida-2 luna-2 quiero-2 contigo-3 fuego-2 mar-1 sueño-2 "
    "siempre-2 amor-2 canta-2 lejos-2 vuelve-2 sol-1 tiempo-2 mañana-3 bailar-2",
    "it": "cuore-2 cielo-2 notte-2 sempre-2 vita-2 luna-2 amore-3 sole-2 mare-2 sogno-2 lontano-3 "
    "strada-2 cantare-3 fuoco-2 domani-3 vento-2 ancora-3 tempo-2",
    "fr": "coeur-1 ciel-1 nuit-1 toujours-2 chanson-2 soleil-2 amour-2 rêver-2 chemin-2 lumière-2 "
    "partir-2 demain-2 jamais-2 danser-2 vie-1 encore-2 bateau-2",
}
ONSETS = (
    *("b", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "sh", "ch"),
    *("br", "dr", "fl", "gr", "kl", "pl", "st", "tr", "sl", "", "", "", ""),
)
VOWELS = ("a", "e", "i", "o", "u", "a", "o", "ay", "ee", "oo")
CODAS = ("", "", "", "n", "m", "l", "r", "s", "t", "k")
CALLS = ("la", "na", "oh", "ah", "ooh", "hey", "yeah", "doo", "da", "mmm", "wow", "ay")


class Word(NamedTuple):
    """A word as it is written for the speech synthesiser, and its number of syllables."""

    text: str
    syllables: int


def draw_words(dice: np.random.Generator, language: str, syllables: int) -> tuple[Word, ...]:
    """Draw words of exactly so many syllables in all; a language without a list gets nonsense."""
    known = [Word(*parse(entry)) for entry in WORDS.get(language, "").split()]
    style = dice.choice(["words", "nonsense", "calls"], p=[0.62, 0.25, 0.13])
    words: list[Word] = []
    left = syllables
    while left:
        fitting = [word for word in known if word.syllables <= left]
        if style == "calls" and left:
            word = Word(str(dice.choice(CALLS)), 1)
        elif style == "words" and fitting:
            word = fitting[dice.integers(len(fitting))]
        else:
            word = nonsense(dice, min(left, int(dice.integers(1, 4))))
        words.append(word)
        left -= word.syllables
    return tuple(words)


def parse(entry: str) -> tuple[str, int]:
    """Return text and syllables of an entry such as `river-2`."""
    text, syllables = entry.rsplit("-", 1)
    return text, int(syllables)


def nonsense(dice: np.random.Generator, syllables: int) -> Word:
    """Make up a word that any voice can say."""
    parts = [str(dice.choice(ONSETS)) + str(dice.choice(VOWELS)) for _ in range(syllables)]
    return Word("".join(parts) + str(dice.choice(CODAS)), syllables)
