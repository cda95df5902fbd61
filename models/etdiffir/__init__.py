"""ETDiffIR: a caption and the degradation guide an efficient U-Net through IR-SDE (Sensors 2024).

Reading order: erunet (the network), tifb (its condition), captions, restorer.  Written from the paper and from measured
facts of the authors' code, which has no license; docs/decisions/0013 says what the paper leaves open.
"""
