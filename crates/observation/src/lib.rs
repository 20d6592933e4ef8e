//! The record of what one vantage point saw, step by step, and the archive format that keeps it.
//!
//! A record is complete enough to be judged again, offline, to the same verdict. It stands alone:
//! old agents write it and new code reads it. It must not know how to obtain anything, nor what it proves.
#![no_std]
extern crate alloc;

pub mod address;
pub mod archive;
pub mod certificate;
pub mod dialogue;
pub mod facts;
pub mod failure;
pub mod measurement;
pub mod path;
pub mod recorded;
pub mod service;
pub mod surroundings;
pub mod tls_names;
pub mod witness;

pub use certificate::{Certificate, Handshake, HandshakeOutcome, InvalidReason, Verification};
pub use dialogue::{Connect, Dialogue, Ending, LegacyHello, Role, Source, Variation};
pub use facts::{AddressRecord, DnsStatus, Lookup, MtaStsFetch, Question, Record};
pub use failure::{Failure, FailureKind, Operation};
pub use measurement::{Body, Measurement, Vantage};
pub use path::{
    Answer, Answered, Engine, Method, PacketKind, Payload, Probe, Quote, QuoteBegins, ReceivedTtl,
    Trace, TtlMethod,
};
pub use service::{Scheme, Service};
pub use surroundings::{AddressFact, Capture, Side, Surroundings};
pub use witness::{
    Errand, Look, PacketHeader, Report, SignedReport, Standing, WitnessService, WitnessVisit,
    WitnessedConnection,
};
