//! What people read: status, tables and sentences made from [`crate::protocol`] types. Nothing here talks to a daemon.
