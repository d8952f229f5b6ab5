//! `truemute trace`: every pull and state change as JSON lines, from a bounded queue with counted losses.
