"""What an operator must know before converting; printed by the command and kept in the bundle's manifest."""

AUTODIR = (
    "The authors of AutoDIR state no licence, neither for their code nor for their weights (github.com/jiangyitong/"
    "AutoDIR): whether you may use them, and for what, is between you and them. The denoiser descends from Stable "
    "Diffusion 1.5, so the use restrictions of CreativeML OpenRAIL-M (Attachment A) apply to it and to whatever is "
    "made from it. undegrade ships none of these weights, and the converted bundle must not be passed on as its own."
)
