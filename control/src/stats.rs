//! Figures of `stats` and `clients` made from snapshots and from the store's history.
