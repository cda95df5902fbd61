"""DA-CLIP with an IR-SDE U-Net or a one-step NAFNet (Luo et al. 2024, arXiv:2310.01018 and arXiv:2404.09732)."""
