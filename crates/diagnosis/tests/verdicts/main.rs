//! Every mechanism, server state and weakness, judged from synthetic dialogues; the look-alikes beside them.
#![allow(
    unreachable_pub,
    reason = "the parts of one test program share their tools"
)]

mod alike;
mod answering;
mod asking;
mod clear;
mod commonplace;
mod masked;
mod recorded;
mod refused;
#[path = "../scene/mod.rs"]
mod scene;
mod stand;
mod trust;
mod unlisted;
mod upgrade;
mod weaknesses;
