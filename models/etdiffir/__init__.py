"""ETDiffIR: an efficient U-Net for IR-SDE, conditioned by a caption and the degradation (Sensors 2024).

Reading order: erunet (the network), fusion (its condition), captions, restorer.  Written from the paper and from
measurements of the authors' code, which has no license; docs/decisions/0013 lists what the paper leaves open.
"""
