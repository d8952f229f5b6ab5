//! What `truemute install` puts into a user's directories. [`parts`] has the files, [`versions`] finds out which of them a
//! machine needs.

pub mod parts;
mod versions;
