"""What was reached, beside the paper: runs, statistics, figures, one page.

Reading order: ``runs`` gathers the paper's runs and ours, ``statistics`` summarises seeds,
``figures`` draws, ``history`` tells what the runs were, ``page`` puts it together.
"""
