//! Giving up what only the opening of sockets needed: the user, the groups and every capability.

use std::io;

use hoofbeat_net::sys;
use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};

/// Whom a witness that was started by root becomes, unless told otherwise.
pub const UNPRIVILEGED_USER: &str = "nobody";

/// Why privileges could not be dropped; the witness then must not run.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// No such user.
    #[error("there is no user {0:?} on this system")]
    NoSuchUser(String),
    /// The operating system refused.
    #[error("cannot become the user {user}: {error}")]
    User {
        /// Whom.
        user: String,
        /// Its words.
        error: io::Error,
    },
    /// The operating system refused.
    #[error("cannot give up capabilities: {0}")]
    Capabilities(io::Error),
}

/// Becomes `user` where started by root, and gives up every capability for good.
///
/// Must be called before the runtime starts threads: capabilities belong to each thread. Returns who it is now.
///
/// # Errors
/// When there is no such user, or the operating system refuses.
pub fn drop_privileges(user: Option<&str>) -> Result<String, PrivilegeError> {
    let now = Uid::current();
    let wanted = user.or_else(|| now.is_root().then_some(UNPRIVILEGED_USER));
    if let Some(name) = wanted {
        let found = User::from_name(name)
            .ok()
            .flatten()
            .ok_or_else(|| PrivilegeError::NoSuchUser(name.to_owned()))?;
        if found.uid != now {
            become_user(found.uid, found.gid).map_err(|error| PrivilegeError::User {
                user: name.to_owned(),
                error: error.into(),
            })?;
        }
    }
    sys::drop_capabilities().map_err(PrivilegeError::Capabilities)?;
    let uid = Uid::current();
    Ok(User::from_uid(uid)
        .ok()
        .flatten()
        .map_or_else(|| uid.to_string(), |user| user.name))
}

/// Groups first: afterwards there is no right to.
fn become_user(uid: Uid, gid: Gid) -> nix::Result<()> {
    setgroups(&[])?;
    setgid(gid)?;
    setuid(uid)
}
