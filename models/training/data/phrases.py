"""A lexicon and a small grammar of the phrasings with which users ask for a repair.

The text encoder learns from them that "get rid of the grain" and "A photo needs noise artifact reduction" mean the
same.  `HELD_OUT` holds phrasings that the grammar cannot produce; they are for measuring and never for training.
"""

import numpy as np

from models.vocabulary import CLEAN, NOTHING, degradation

NOUNS: dict[str, tuple[str, ...]] = {
    "noise": ("noise", "grain", "graininess", "speckles", "iso noise", "sensor noise", "colour noise", "color noise",
              "static", "random dots", "film grain", "luminance noise", "noisy pixels", "salt and pepper"),
    "blur": ("blur", "blurriness", "motion blur", "camera shake", "shake", "softness", "focus error", "defocus", "lens blur",
             "smear", "ghosting", "wrong focus", "handshake blur", "movement"),
    "rain": ("rain", "rain streaks", "streaks", "falling rain", "rainfall", "downpour", "shower", "heavy rain", "drizzle",
             "rain lines", "rainy weather", "storm rain", "white streaks"),
    "low-light": ("darkness", "low light", "underexposure", "dark shadows", "dimness", "poor lighting", "bad lighting",
                  "night darkness", "lack of light", "gloom", "weak light", "too little light", "black areas"),
    "haze": ("haze", "fog", "mist", "smog", "smoke", "dust haze", "haziness", "foggy air", "milky veil", "grey veil",
             "gray veil", "washed out air", "murk", "cloudiness", "low contrast veil"),
    "low-resolution": ("low resolution", "pixelation", "pixels", "small size", "missing detail", "tiny resolution",
                       "big pixels", "poor resolution", "lack of detail", "upscaling artifacts", "pixel blocks", "low res"),
    "raindrop": ("raindrops", "raindrop", "water drops", "drops on the lens", "droplets", "drops on the glass",
                 "water droplets on the window", "waterdrops", "wet lens", "drops on the windshield", "wet glass", "beads of water",
                 "drops on the window"),
    "jpeg": ("jpeg artifacts", "compression artifacts", "compression", "jpeg blocks", "blocking", "blockiness", "ringing",
             "jpg artefacts", "compression noise", "8x8 blocks", "mosquito noise", "banding", "jpeg compression", "macroblocks"),
    "snow": ("snow", "snowflakes", "falling snow", "flakes", "snowfall", "blizzard", "white flakes", "snow specks", "snowstorm",
             "sleet", "winter flakes"),
    "shadow": ("shadow", "shadows", "cast shadow", "shade", "hard shadow", "shadow edges", "the photographer's shadow", "tree shadow",
               "patches of shade", "shadow areas", "harsh shadows", "silhouette on the ground"),
    "inpainting": ("holes", "missing parts", "missing pixels", "blank areas", "white patches", "gaps", "scratched out parts",
                   "masked area", "white holes", "torn parts", "erased regions", "empty regions", "cut out pieces"),
}  # fmt: skip

ADJECTIVES: dict[str, tuple[str, ...]] = {
    "noise": ("noisy", "grainy", "speckled", "full of noise", "very grainy", "noisy at high iso"),
    "blur": ("blurry", "blurred", "out of focus", "shaky", "not sharp", "unsharp", "soft", "smeared", "fuzzy", "unfocused"),
    "rain": ("rainy", "full of rain", "streaked by rain", "taken in the rain", "covered in rain streaks"),
    "low-light": ("dark", "too dark", "underexposed", "dim", "badly lit", "very dark", "gloomy", "almost black", "taken at night"),
    "haze": ("hazy", "foggy", "misty", "smoggy", "washed out by fog", "smoky", "veiled", "milky"),
    "low-resolution": ("pixelated", "low resolution", "low res", "too small", "tiny", "lacking detail", "a thumbnail", "upscaled"),
    "raindrop": ("covered with drops", "shot through a wet window", "full of water drops", "behind wet glass",
                 "covered in droplets", "taken through a rainy windshield"),
    "jpeg": ("blocky", "over compressed", "full of jpeg artifacts", "heavily compressed", "badly compressed", "compressed"),
    "snow": ("snowy", "full of snowflakes", "covered by falling snow", "taken in a blizzard"),
    "shadow": ("shadowed", "half in the shade", "covered by a shadow", "shaded", "in hard shadow"),
    "inpainting": ("uncompleted", "incomplete", "full of holes", "partly erased", "torn", "scratched out", "masked"),
}  # fmt: skip

COMMANDS: dict[str, tuple[str, ...]] = {
    "noise": ("denoise", "denoise it", "clean up the grain", "smooth out the noise", "reduce iso noise", "noise reduction"),
    "blur": ("deblur", "sharpen", "sharpen it", "make it sharp", "make it sharper", "fix the focus", "bring it into focus",
             "unblur", "stabilise the shot", "sharpen the blurry face", "deblur the image"),
    "rain": ("derain", "make it stop raining", "take the rain away", "dry weather please", "deraining"),
    "low-light": ("brighten", "brighten it", "make it brighter", "lighten", "lighten it up", "turn up the light",
                  "increase the exposure", "raise the exposure", "more light", "light it up", "enhance the low light"),
    "haze": ("dehaze", "defog", "wash the fog away", "clear the air", "clear up the mist", "bring back the contrast through the fog",
             "make the distance clear"),
    "low-resolution": ("upscale", "super resolution", "increase the resolution", "more detail", "add detail", "make it larger",
                       "enlarge", "higher resolution", "super-resolve", "upsample it", "more pixels", "make it hd"),
    "raindrop": ("wipe the drops off the lens", "wipe the window", "deraindrop", "dry the lens", "wipe the glass dry",
                 "clean the wet lens"),
    "jpeg": ("deblock", "remove the blocks", "undo the compression", "clean the jpeg", "fix the jpeg blocks everywhere",
             "decompress it", "remove blocking"),
    "snow": ("desnow", "stop the snow", "take the snowflakes away", "desnowing", "make it stop snowing"),
    "shadow": ("deshadow", "remove the shade", "take the shadow off", "shadow removal", "even out the shade", "unshade it"),
    "inpainting": ("inpaint", "inpaint it", "fill the holes", "complete the picture", "fill in what is missing", "fill the gaps",
                   "paint in the missing parts", "complete it", "restore the torn part", "inpainting"),
    CLEAN: ("no change", "leave it as it is", "nothing is wrong", "it is fine", "clean photo", "perfect picture", "do nothing",
            "no repair needed", "keep it", "good quality", "a flawless photo", "already good", "no degradation"),
}  # fmt: skip

VERBS = ("remove", "get rid of", "reduce", "fix", "clean", "erase", "take away", "delete", "eliminate", "clear", "repair",
         "please remove", "can you remove", "take out", "suppress", "correct", "I want to remove", "help me remove")  # fmt: skip
COMPLAINTS = ("too much {}", "there is {} in it", "so much {}", "there is a lot of {}", "the {} is bad", "{}", "i see {}",
              "{} everywhere", "the {} ruins it", "it has {}", "problem with {}", "damaged by {}", "because of the {}")  # fmt: skip
STATES = ("{}", "it is {}", "too {}", "very {}", "the photo is {}", "this picture looks {}", "my image came out {}",
          "everything is {}", "the face is {}", "it looks {}", "why is it so {}", "the image is quite {}")  # fmt: skip
PLACES = ("", "", "", "", " in this photo", " from the picture", " from my photo", " of the beach", " in the sky", " on the face",
          " please", " in the background", " thanks", " from this image", " now", " of my dog", " in my holiday picture")  # fmt: skip


def phrase(name: str, rng: np.random.Generator) -> str:
    """Draw a training phrasing of the name of a degradation, or of "clean".

    A learned degradation has no words but its own.
    """
    nouns, adjectives, commands = NOUNS, ADJECTIVES, COMMANDS
    if name not in COMMANDS:
        word = degradation(name).word
        nouns, commands = {name: (word,)}, {name: (f"remove the {word}", f"remove {word}", word)}
        adjectives = {name: (f"full of {word}", f"damaged by {word}", f"ruined by {word}")}
    kind = rng.random()
    if kind < 0.1:
        return (NOTHING if name == CLEAN else degradation(name)).prompt
    if name == CLEAN or kind < 0.3:
        text = _one(commands[name], rng) + _one(PLACES, rng)
    elif kind < 0.65:
        text = f"{_one(VERBS, rng)} {_one(('the ', '', 'all the ', 'this '), rng)}{_one(nouns[name], rng)}{_one(PLACES, rng)}"
    elif kind < 0.82:
        text = _one(COMPLAINTS, rng).format(_one(nouns[name], rng)) + _one(PLACES, rng)
    else:
        text = _one(STATES, rng).format(_one(adjectives[name], rng))
    return _typo(text, rng) if rng.random() < 0.05 else text


def _one(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _typo(text: str, rng: np.random.Generator) -> str:
    """Swap two neighboring letters."""
    at = int(rng.integers(max(1, len(text) - 1)))
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


_HELD_OUT: dict[str, tuple[str, ...]] = {
    "noise": ("get rid of the grain at high ISO", "this shot is awfully grainy, clean it", "speckles all over my night picture",
              "kill the sensor noise", "smooth the noisy sky", "could you denoise my concert photo", "horrible colour noise",
              "lots of grain here", "the camera made it noisy", "noise noise noise", "filter out speckle", "too grainy for print",
              "my old phone leaves coloured dots all over the place", "the shadows are full of ugly grain, calm them down",
              "please make the picture less noisy"),
    "blur": ("my hands were shaking, so it is blurry", "sharpen the blurry faces", "the focus is off", "out of focus portrait",
             "motion blur from the moving car", "make the eyes sharp again", "everything looks fuzzy and unsharp", "camera shake fix",
             "it moved while i pressed the shutter and is smeared", "deblurring needed", "undo the shake of my hand", "soft and unfocused",
             "i moved the camera and now nothing is sharp", "can you make the letters on the sign crisp",
             "the dog ran and came out as a smear"),
    "rain": ("take that rain off the picture", "rain streaks all over the street", "heavy downpour in front of us", "it was raining, take it out",
             "erase these falling rain lines", "drizzle should vanish", "the shower spoils the match photo", "rainy street, clean it",
             "no more rain please", "take out the white streaks of rain",
             "it poured the whole day, can you make it look dry", "get these rain lines off my wedding photo",
             "we had awful rainy weather at the match", "make the rain go away",
             "there are streaks from the rain over everybody"),
    "low-light": ("much too dark to print", "i can hardly see anything, brighten the room", "the photo was underexposed", "light up the shadows",
                  "it was night and there was little light", "make this dim picture brighter", "increase brightness and exposure",
                  "dark image, lighten please", "so gloomy in here", "poorly lit indoor shot", "lift the darkness",
                  "nobody can be recognised because there was no lamp on", "the living room came out way too dark",
                  "give me more brightness", "taken at night without flash, please brighten"),
    "haze": ("rinse the fog out of the valley", "the mountains vanish in the mist", "smog over the city, clear it", "remove hazy veil",
             "i want to see through the smoke", "dehaze the skyline", "foggy morning, make it clear", "milky and washed out by haze",
             "clear the misty valley", "get the haze out",
             "the skyline hides behind smog", "it was a misty morning and the colours look pale",
             "let me see the hills behind the fog", "the air was thick with smoke", "the whole view is covered in a grey haze"),
    "low-resolution": ("it is pixelated, more detail please", "upscale this thumbnail", "the resolution is too low",
                       "make a bigger version with more detail", "tiny picture, enlarge it", "increase resolution four times",
                       "super resolution x4", "low res scan", "need higher resolution for print", "too few pixels",
                       "i only have a thumbnail of this, can it be larger", "make it big enough for a poster",
                       "you can count the pixels", "scale it up without losing detail", "an old photo from a 1 megapixel phone"),
    "raindrop": ("there are water drops on the lens", "wipe the droplets from the window", "raindrops on my windshield",
                 "drops on the glass spoil the view", "water beads on the camera lens", "the lens got wet, remove the drops",
                 "shot through a wet window pane", "clean droplets off the glass", "waterdrops must go from the lens", "drops of water on the screen",
                 "there are drops of water stuck to my windscreen", "the car window was wet when i took this",
                 "remove the water spots left on the lens", "somebody splashed water on the camera",
                 "get the droplets off the glass in front"),
    "jpeg": ("jpeg blocks wherever i look", "ugly compression artifacts", "whatsapp compressed it to death", "jpg artefacts need to go",
             "blocky 8x8 squares in the sky", "too much compression, ringing around edges", "heavily compressed jpeg, restore",
             "deblock this", "banding and blocking", "saved at quality 10, artifacts",
             "it was saved too many times and now shows little squares", "facebook ruined the quality with its compression",
             "clean up the blocks around the letters", "the jpg looks awful after sending it by mail",
             "smooth away the compression squares"),
    "snow": ("make the snowflakes vanish", "it was snowing, take the flakes out", "blizzard hides the house", "snow falling in front of us",
             "hide the falling snow", "flakes on the photo", "desnow this street", "too much snow in the air",
             "take the white flakes off our faces", "we were caught in a snowstorm",
             "remove the falling snow from the ski picture", "there are snowflakes in front of the dog",
             "it snowed so hard that you cannot see the church", "clear the snow out of the air",
             "please get rid of all those flakes"),
    "shadow": ("my own shadow lies on the grass, remove it", "a tree throws its shade over the car", "get the shadow off her face",
               "the wall is half in shade", "shadow on the document", "the umbrella cast a dark shadow", "even out the shaded side",
               "erase the shadow of the photographer", "there is a hard shadow across the floor", "lift the shade from the pavement"),
    "inpainting": ("parts of the picture are missing", "fill in the white spots", "somebody scratched pieces out of the photo",
                   "the corner is torn off, complete it", "there are holes in this image", "reconstruct the erased region",
                   "paint over the blank rectangle", "complete what is masked out", "inpaint the hole in the middle",
                   "the picture is incomplete"),
    CLEAN: ("the photo is fine, leave it", "nothing wrong here", "please do not touch it", "keep it as it is", "no changes needed",
            "a perfect clean photo",
            "everything is fine with it", "do not change anything", "there is nothing to repair",
            "it already looks perfect to me"),
}  # fmt: skip
HELD_OUT: tuple[tuple[str, str], ...] = tuple((text, name) for name, texts in _HELD_OUT.items() for text in texts)
