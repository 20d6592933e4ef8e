//! Hoofbeat tells whether mail encryption is being stripped, how, by what and where.
//!
//! This package is the front door: it reads what was typed, turns the judge's questions into new
//! measurements, and prints. See ARCHITECTURE.md for the house behind it.

pub mod bundle;
pub mod cli;
pub mod explain;
