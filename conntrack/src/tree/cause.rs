//! Causes for which connections are not in the tree.

/// Why a connection is not shown. Each is counted apart and said once, until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The file system said no, or something else has the name.
    Refused,
    /// The file system has no room, or the quota is used up.
    Full,
    /// The tree holds as many files as it may: one of `else`.
    MaxFiles,
    /// `in` holds as many files as it may.
    MaxFilesIn,
    /// `out` holds as many files as it may.
    MaxFilesOut,
    /// Too few of the file system's inodes are free for `else`.
    FewInodes,
    /// Too few of the file system's inodes are free for `in` and `out` too.
    FewestInodes,
    /// It was time to end.
    Unfinished,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 8] = [
        Self::Refused,
        Self::Full,
        Self::MaxFiles,
        Self::MaxFilesIn,
        Self::MaxFilesOut,
        Self::FewInodes,
        Self::FewestInodes,
        Self::Unfinished,
    ];

    /// In the words of the report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "file could not be made",
            Self::Full => "no room for the file",
            Self::MaxFiles => "else file held back by --max-files",
            Self::MaxFilesIn => "in file held back by --max-files-in",
            Self::MaxFilesOut => "out file held back by --max-files-out",
            Self::FewInodes => "else file held back by --min-free-inodes",
            Self::FewestInodes => "in or out file held back by --min-free-inodes",
            Self::Unfinished => "not written before the end",
        }
    }

    /// What becomes of the rest while it is in the way.
    pub const fn meanwhile(self) -> &'static str {
        match self {
            Self::Refused | Self::Full => "going on without",
            Self::MaxFiles | Self::FewInodes => "in and out go on",
            Self::MaxFilesIn | Self::MaxFilesOut | Self::FewestInodes => {
                "files that are there go on"
            }
            Self::Unfinished => "they are counted as lost",
        }
    }

    /// What there is to say when it is over.
    pub const fn farewell(self) -> Option<&'static str> {
        match self {
            Self::Refused | Self::Unfinished => None,
            Self::Full => Some("there is room again, files are made again"),
            Self::MaxFiles | Self::FewInodes => {
                Some("there is room again, new files are made in else again")
            }
            Self::MaxFilesIn => Some("there is room again, new files are made in `in` again"),
            Self::MaxFilesOut => Some("there is room again, new files are made in out again"),
            Self::FewestInodes => {
                Some("there is room again, new files are made in `in` and out again")
            }
        }
    }
}
