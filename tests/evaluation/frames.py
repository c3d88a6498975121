"""Frames of benchmark results, made up: rising curves with a spread that shrinks with k."""

import numpy as np
import pandas as pd

VIEWS = ("token", "strict", "exact", "partial")


def make_frame(curves, ks, seeds=10, noise=0.03):
    """A result frame.

    Args:
        curves: task to encoder to mean score at each k; entity scores are 0.1 below, in protocol "entity".
        ks: examples per concept.
        seeds: number of draws.
        noise: standard deviation at k = 1; draws of one seed are off to the same side for every encoder.
    """
    random = np.random.default_rng(0)
    rows = []
    for task, encoders in curves.items():
        shared = random.normal(0, noise, (seeds, len(ks)))
        for encoder, means in encoders.items():
            own = random.normal(0, noise / 3, (seeds, len(ks)))
            for protocol, below in (("blog", 0.0), ("entity", 0.1)):
                for seed in range(seeds):
                    for column, k in enumerate(ks):
                        score = means[column] - below + (shared + own)[seed, column] / k**0.5
                        score = float(np.clip(score, 0, 1))
                        for average, concept in (("class", "actor"), ("micro", ""), ("macro", "")):
                            row = {"task": task, "encoder": encoder, "protocol": protocol, "k": k, "seed": seed}
                            row |= {"average": average, "concept": concept, "support": 7}
                            for view in VIEWS:
                                known = view == "token" or protocol == "entity"
                                row |= {
                                    f"{view}_{measure}": score if known else np.nan
                                    for measure in ("f1", "precision", "recall")
                                }
                            rows.append(row)
    return pd.DataFrame(rows)


def with_k_0(frame, zero_shot):
    """The frame with scores at k = 0, which have one draw: task to encoder to score, 0.1 less for entities."""
    rows = []
    for row in frame[(frame["k"] == frame["k"].max()) & (frame["seed"] == 0)].to_dict("records"):
        score = zero_shot.get(row["task"], {}).get(row["encoder"])
        if score is None:
            continue
        score -= 0.1 * (row["protocol"] == "entity")
        known = [name for name, value in row.items() if name.endswith(("f1", "precision", "recall")) and value == value]
        rows.append(row | {"k": 0} | dict.fromkeys(known, score))
    return pd.concat([frame, pd.DataFrame(rows)], ignore_index=True)
