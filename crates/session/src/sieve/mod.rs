//! ManageSieve: what its replies look like and list (RFC 5804 §1.2, §1.3, §1.7).

pub(crate) mod capability;
pub(crate) mod reply;
pub(crate) mod string;
