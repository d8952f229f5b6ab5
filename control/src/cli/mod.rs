//! The command line: arguments in, exit codes out. What it prints for people is made in [`crate::report`].
