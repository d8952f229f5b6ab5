//! Where the socket is: a rule that both sides know, so that nobody has to tell.

use std::path::{Path, PathBuf};

/// The name of the socket. It has a number, because in a folder that everybody may write to somebody else may have taken it.
const NAME: &str = "org.truemute.bridge";

/// How many numbers there are.
const NUMBERS: u32 = 4;

/// The folder on a Mac. The sandbox of Core Audio's helper lets a plug-in write to temporary folders; its own per-user one
/// (`confstr`) is closed to the agent, who is another user.
pub const FOLDER: &str = "/private/tmp";

/// The paths that the plug-in tries to listen at, in this order, and where the agent looks for it, in the same one.
pub fn paths(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = folder.to_owned();
    (0..NUMBERS).map(move |number| folder.join(format!("{NAME}.{number}")))
}
