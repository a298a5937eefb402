//! A bar of a figure: a port, a peer, or those that have none of their own.

/// A bar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::page) struct Bar {
    pub(in crate::page) name: String,
    /// What comes behind it where there is room.
    pub(in crate::page) aside: Option<String>,
    /// It stands for what has no bar of its own.
    pub(in crate::page) is_others: bool,
    pub(in crate::page) connections: usize,
}

impl Bar {
    /// Its name with what comes behind it.
    pub(in crate::page) fn whole(&self) -> String {
        format!("{}{}", self.name, self.aside.as_deref().unwrap_or_default())
    }
}
