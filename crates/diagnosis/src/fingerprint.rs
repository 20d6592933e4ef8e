//! Fingerprints: bytes that name a product, or a generic class where no product is known.
//!
//! A fingerprint names the product, never the place, and no intent. Nothing here may accuse alone
//! where an honest server could have produced the same bytes.

pub(crate) mod catalogue;
pub(crate) mod mask;
pub(crate) mod wording;
