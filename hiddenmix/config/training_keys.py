"""Which keys make another network: known once, for cells' identities and for what reports tell apart."""

MIXING = ("mode", "alpha", "lam", "partners", "originals", "operation")
"""Keys that mean nothing with `layer=none`."""

NO_TRAINING = (
    *("study", "device", "workers", "threads", "checkpoint_seconds", "tracker"),
    *("evaluation", "evaluation_images", "evaluate_every"),
    *("baseline", "margin", "repeats", "max_repeats"),
    *("dataset.download", "dataset.title", "dataset.root", "dataset.outside"),
    *("dataset.train", "dataset.test", "dataset.target", "model.weights"),
)
"""Where a run happens, what is measured besides the training, how often, and where data and weights
lie, which are known by their content."""
