//! Stands in for `hoofbeat lab up` on systems that have no network namespaces.

use super::super::Stop;

/// What was asked for.
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) from: String,
    pub(super) keep: bool,
    pub(super) quiet: bool,
    pub(super) command: Vec<String>,
}

/// Refuses.
pub(super) fn list(_json: bool) -> Result<u8, Stop> {
    Err(linux_only())
}

/// Refuses.
pub(super) async fn up(wanted: &Wanted) -> Result<u8, Stop> {
    let Wanted {
        id: _,
        from: _,
        keep: _,
        quiet: _,
        command: _,
    } = wanted;
    Err(linux_only())
}

fn linux_only() -> Stop {
    Stop::usage("the lab in network namespaces needs Linux")
}
