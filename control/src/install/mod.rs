//! What `truemute install` puts into a user's directories: [`parts`] has the files themselves.

pub mod parts;
