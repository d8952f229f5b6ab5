//! The user's configuration and the administrator's policy: reading, checking, merging. Nothing here acts on them.
