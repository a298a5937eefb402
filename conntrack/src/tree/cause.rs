//! Why connections are not in the tree.

/// Why a connection is not shown. Each cause has its own counter and warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The file system refused, or something else has the name.
    Refused,
    /// No space left, or quota exceeded.
    Full,
    /// `else`: the tree is at `--max-files`.
    MaxFiles,
    /// `in` is at `--max-files-in`.
    MaxFilesIn,
    /// `out` is at `--max-files-out`.
    MaxFilesOut,
    /// `else`: too few free inodes.
    FewInodes,
    /// `in` and `out`: below the hard floor of free inodes.
    FewestInodes,
    /// Shutdown came before it was written.
    Unfinished,
}

impl Cause {
    /// All causes.
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

    /// As in the report.
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

    /// What happens meanwhile.
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

    /// Message when it is over.
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
