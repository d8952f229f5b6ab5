//! Where the sockets are. One is in a folder of the plug-in's own, whose name nobody can know before, and so nobody can occupy:
//! the plug-in publishes it as a property of its device (`driver-macos/plugin/properties.tsv`). The other one has a name by a rule
//! that both sides know, for an agent that cannot read the property.

use std::path::{Path, PathBuf};

/// How the names begin.
const NAME: &str = "org.truemute.bridge";

/// How many names the rule has, because in a folder that everybody may write to somebody else may have taken one.
const NUMBERS: u32 = 4;

/// The folder on a Mac. The sandbox of Core Audio's helper lets a plug-in write to temporary folders; its own per-user one
/// (`confstr`) is closed to the agent, who is another user.
pub const FOLDER: &str = "/private/tmp";

/// The paths that the plug-in tries to listen at by the rule, in this order, and where the agent looks for it, in the same one.
pub fn paths(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let folder = folder.to_owned();
    (0..NUMBERS).map(move |number| folder.join(format!("{NAME}.{number}")))
}

/// How the names of plug-ins' own folders begin.
pub(crate) const OWN: &str = "org.truemute.bridge-";

/// The folder of the plug-in's own whose name has this number.
pub(crate) fn own_folder(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{OWN}{number:016x}"))
}

/// The socket in such a folder.
pub(crate) fn own_socket(own: &Path) -> PathBuf {
    own.join("socket")
}
