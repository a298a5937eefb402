//! Tables that a verb writes into a document with `--save`, between two marks, so that the text around
//! them stays.

use std::fs;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// A table's place.
pub(crate) struct Table {
    /// The verb that writes it.
    pub(crate) verb: &'static str,
    /// The document, from the workspace's folder on.
    pub(crate) document: &'static str,
}

/// The mark behind the table.
const END: &str = "<!-- end of table -->\n";

impl Table {
    /// Replaces the document's table.
    pub(crate) fn save(&self, workspace: &Workspace, table: &str) -> Result<()> {
        let path = workspace.root.join(self.document);
        let at_path = || path.display().to_string();
        let document = fs::read_to_string(&path).with_context(at_path)?;
        let with_table = self.replaced(&document, table).with_context(at_path)?;
        fs::write(&path, with_table).with_context(at_path)
    }

    /// `document` with `table` between its two marks.
    fn replaced(&self, document: &str, table: &str) -> Result<String> {
        let begin = format!("<!-- table: written by `cargo xtask {} --save` -->\n", self.verb);
        let marks = document.split_once(&begin).and_then(|(before, rest)| {
            let (_old, after) = rest.split_once(END)?;
            Some((before, after))
        });
        let (before, after) = marks.context("the marks of the table are not there")?;
        Ok(format!("{before}{begin}\n{table}\n{END}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_is_replaced() -> Result<()> {
        const BEGIN: &str = "<!-- table: written by `cargo xtask bench --save` -->\n";
        let bench = Table { verb: "bench", document: "docs/benchmarks.md" };
        let document = |table: &str| format!("before\n{BEGIN}\n{table}\n{END}after\n");
        let replaced = bench.replaced(&document("| old |\n"), "| new |\n")?;
        assert_eq!(replaced, document("| new |\n"));
        assert!(bench.replaced(END, "").is_err());
        Ok(())
    }

    #[test]
    fn each_document_has_a_place_for_its_table() -> Result<()> {
        let measured = [crate::bench::FIGURES.table, crate::soak::SOAK.table];
        for table in measured.into_iter().chain([crate::closed_loop::TABLE, crate::vm::TABLE]) {
            let path = format!("{}/../{}", env!("CARGO_MANIFEST_DIR"), table.document);
            let rows = "| what |\n";
            assert!(table.replaced(&fs::read_to_string(path)?, rows)?.contains(rows));
        }
        Ok(())
    }
}
