//! The positions at which the matrix puts boxes, and who else is honestly to be suspected there. Data.

use crate::topology::scenario::Class;

/// Where a box may stand.
pub(super) struct Stand {
    pub(super) word: &'static str,
    /// For tables.
    pub(super) position: &'static str,
    pub(super) at: &'static str,
    pub(super) hook: &'static str,
    pub(super) class: Class,
    /// Who cannot be told from it by what is on the wire.
    pub(super) also: &'static [Class],
}

pub(super) const STANDS: &[Stand] = &[
    Stand {
        word: "host",
        position: "host",
        at: "client",
        hook: "host",
        class: Class::ThisHost,
        also: &[Class::LocalNetwork],
    },
    Stand {
        word: "isp-out",
        position: "isp",
        at: "isp-1",
        hook: "server-link",
        class: Class::AccessNetwork,
        also: &[],
    },
    Stand {
        word: "edge-in",
        position: "edge",
        at: "edge",
        hook: "client-link",
        class: Class::ServerEdge,
        also: &[Class::Transit],
    },
    Stand {
        word: "home-lan",
        position: "home",
        at: "home",
        hook: "client-link",
        class: Class::LocalNetwork,
        also: &[Class::ThisHost],
    },
    Stand {
        word: "transit-out",
        position: "transit",
        at: "transit-1",
        hook: "server-link",
        class: Class::Transit,
        also: &[],
    },
    Stand {
        word: "bridge",
        position: "bridge",
        at: "bridge",
        hook: "bridge",
        class: Class::ServerEdge,
        also: &[Class::Transit],
    },
    Stand {
        word: "isp-in",
        position: "isp",
        at: "isp-1",
        hook: "client-link",
        class: Class::AccessNetwork,
        also: &[Class::LocalNetwork],
    },
    Stand {
        word: "edge-out",
        position: "edge",
        at: "edge",
        hook: "server-link",
        class: Class::ServerEdge,
        also: &[],
    },
    Stand {
        word: "home-wan",
        position: "home",
        at: "home",
        hook: "server-link",
        class: Class::LocalNetwork,
        also: &[Class::AccessNetwork],
    },
    Stand {
        word: "transit-in",
        position: "transit",
        at: "transit-1",
        hook: "client-link",
        class: Class::Transit,
        also: &[Class::AccessNetwork],
    },
    Stand {
        word: "isp-egress",
        position: "isp",
        at: "isp-1",
        hook: "egress",
        class: Class::AccessNetwork,
        also: &[Class::LocalNetwork],
    },
];

/// Boxes that end connections, and blocks, stand on a node and not on one of its links.
pub(super) const NODES: &[Stand] = &[
    Stand {
        word: "isp",
        position: "isp",
        at: "isp-1",
        hook: "egress",
        class: Class::AccessNetwork,
        also: &[Class::LocalNetwork],
    },
    Stand {
        word: "edge",
        position: "edge",
        at: "edge",
        hook: "egress",
        class: Class::ServerEdge,
        also: &[Class::Transit],
    },
    Stand {
        word: "home",
        position: "home",
        at: "home",
        hook: "egress",
        class: Class::LocalNetwork,
        also: &[Class::ThisHost],
    },
    Stand {
        word: "host",
        position: "host",
        at: "client",
        hook: "host",
        class: Class::ThisHost,
        also: &[Class::LocalNetwork],
    },
    Stand {
        word: "transit",
        position: "transit",
        at: "transit-1",
        hook: "egress",
        class: Class::Transit,
        also: &[Class::AccessNetwork],
    },
];

/// Where blocks may stand: on nodes behind their TTL check, so that the next hop is the first that is missing.
pub(super) const BLOCKS: &[&str] = &[
    "host",
    "isp-out",
    "edge-out",
    "home-wan",
    "transit-out",
    "bridge",
];
