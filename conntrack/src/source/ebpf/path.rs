//! The two paths of a device that programs at TC stand in.

use std::fmt;

use aya::programs::TcAttachType;

/// One path of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcPath {
    Ingress,
    Egress,
}

impl TcPath {
    pub(crate) const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];
}

impl From<TcPath> for TcAttachType {
    fn from(path: TcPath) -> Self {
        match path {
            TcPath::Ingress => Self::Ingress,
            TcPath::Egress => Self::Egress,
        }
    }
}

/// Which packets take it.
impl fmt::Display for TcPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingress => "arriving packets",
            Self::Egress => "leaving packets",
        })
    }
}
