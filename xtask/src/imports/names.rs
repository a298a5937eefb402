//! Which file defines what a path names, as the compiler resolves it: from a module's own names and
//! imports, through imports that are passed on, to the file with the definition. Of types only the name
//! counts: what follows it (a variant, a function) is where the type is.

use std::path::Path;

use super::{
    graph::Graph,
    source::{Id, Mention, Module},
};

/// More steps than any path of ours takes: names that are imported from each other in a circle end here.
const STEPS: usize = 32;

/// Who imports whom. Naming a module alone imports nothing of its file.
pub(super) fn graph(modules: &[Module]) -> Graph {
    let names = Names(modules);
    let mut graph = Graph::default();
    for (id, module) in modules.iter().enumerate() {
        for mention in module.mentions.iter().chain(&module.globs) {
            for file in names.definitions(id, mention) {
                graph.add(&module.file, file, mention.line, mention.segments.join("::"));
            }
        }
    }
    graph
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
enum Named<'m> {
    Module(Id),
    /// Anything else, with the file that defines it.
    Item(&'m Path),
}

struct Names<'m>(&'m [Module]);

impl<'m> Names<'m> {
    /// The files that define what this mention in a module names. There are several where one name is
    /// defined for different features.
    fn definitions(&self, module: Id, mention: &Mention) -> impl Iterator<Item = &'m Path> {
        let found = self.resolve(module, &mention.segments, true, STEPS);
        found.into_iter().filter_map(|named| match named {
            Named::Module(_) => None,
            Named::Item(file) => Some(file),
        })
    }

    /// What a path names that stands in a module. `is_end` is whether nothing follows it.
    fn resolve(&self, id: Id, path: &[String], is_end: bool, steps: usize) -> Vec<Named<'m>> {
        let mut found = vec![Named::Module(id)];
        for (at, name) in path.iter().enumerate() {
            let is_end = is_end && at + 1 == path.len();
            let below = found.into_iter().flat_map(|named| match named {
                Named::Module(id) => self.step(id, name, is_end, steps),
                item @ Named::Item(_) => vec![item],
            });
            found = below.collect();
        }
        found
    }

    fn step(&self, id: Id, name: &str, is_end: bool, steps: usize) -> Vec<Named<'m>> {
        match name {
            "crate" => vec![Named::Module(0)],
            "self" => vec![Named::Module(id)],
            "super" => self.0[id].parent.map(Named::Module).into_iter().collect(),
            name => self.lookup(id, name, is_end, steps),
        }
    }

    /// What a name stands for in a module. An item and a module may share it: it is the item if
    /// nothing follows.
    fn lookup(&self, id: Id, name: &str, is_end: bool, steps: usize) -> Vec<Named<'m>> {
        let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
        let module = &self.0[id];
        let children = module.children.get(name).into_iter().flatten().copied();
        if is_end && module.items.contains(name) {
            return vec![Named::Item(&module.file)];
        }
        let mut found: Vec<_> = children.map(Named::Module).collect();
        if found.is_empty() && module.items.contains(name) {
            found.push(Named::Item(&module.file));
        }
        let imports = module.imports.iter().filter(|(alias, _)| alias == name);
        // An import of this very name does not explain itself.
        for (_, mention) in imports.filter(|(_, it)| it.segments != [name]) {
            found.extend(self.resolve(id, &mention.segments, is_end, steps));
        }
        if found.is_empty() {
            found.extend(self.lookup_in_globs(id, name, is_end, steps));
        }
        found
    }

    fn lookup_in_globs(&self, id: Id, name: &str, is_end: bool, steps: usize) -> Vec<Named<'m>> {
        let mut found = Vec::new();
        for glob in &self.0[id].globs {
            for named in self.resolve(id, &glob.segments, false, steps) {
                if let Named::Module(of) = named {
                    found.extend(self.lookup(of, name, is_end, steps));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use anyhow::Result;

    use super::*;
    use crate::imports::{faults_of, source};

    /// Who imports whom in a crate of these files, `lib.rs` first, as `a>b`.
    fn imports(files: &[(&str, &str)]) -> Result<String> {
        let imports = read(files)?;
        let imports = imports.imports().map(|it| format!("{}>{}", stem(it.from), stem(it.to)));
        Ok(imports.collect::<Vec<_>>().join(" "))
    }

    fn read(files: &[(&str, &str)]) -> Result<Graph> {
        let find = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned()).ok_or(ErrorKind::NotFound.into())
        };
        Ok(graph(&source::read(Path::new("lib.rs"), &find)?))
    }

    fn stem(path: &Path) -> String {
        path.file_stem().unwrap_or_default().display().to_string()
    }

    #[test]
    fn parent_and_child_can_make_a_circle() -> Result<()> {
        let files = [
            ("lib.rs", "mod a; pub struct S; fn f() { a::g() }"),
            ("a.rs", "use super::S; pub fn g() {}"),
        ];
        assert_eq!(imports(&files)?, "a>lib lib>a");
        assert_eq!(faults_of(&read(&files)?).len(), 1);
        Ok(())
    }

    #[test]
    fn a_name_that_is_passed_on_is_imported_from_where_it_is_defined() -> Result<()> {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::S; pub use b::*;"),
            ("a.rs", "pub struct S;"),
            ("b.rs", "use crate::S; pub struct T(S);"),
        ];
        assert_eq!(imports(&files)?, "b>a lib>a");
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::*;"),
            ("a.rs", "pub struct S; pub enum E { V }"),
            ("b.rs", "fn f() -> super::S { crate::E::V }"),
        ];
        assert_eq!(imports(&files)?, "b>a");
        Ok(())
    }

    #[test]
    fn a_module_alone_is_no_import_but_what_follows_it_is() -> Result<()> {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b; use super::c as see; fn f() { say!(see::g) }"),
            ("b.rs", "pub fn f() {}"),
            ("c.rs", "pub fn g() {}"),
        ];
        assert_eq!(imports(&files)?, "a>c");
        Ok(())
    }

    #[test]
    fn modules_in_one_file_are_that_file() -> Result<()> {
        let files = [
            (
                "lib.rs",
                "mod a; mod inner { use super::a::f; pub mod deep { fn g() { super::super::a::f() } } }",
            ),
            ("a.rs", "mod field { pub const X: u8 = 1; } pub fn f() -> u8 { field::X }"),
        ];
        assert_eq!(imports(&files)?, "lib>a");
        Ok(())
    }

    #[test]
    fn a_function_and_a_module_may_have_one_name() -> Result<()> {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub mod go; pub fn go() {}"),
            ("a/go.rs", "pub fn deep() {}"),
            ("b.rs", "use crate::a::go; fn f() { go(); go::deep() }"),
        ];
        assert_eq!(imports(&files)?, "b>go b>a");
        Ok(())
    }

    #[test]
    fn other_crates_and_names_that_lead_nowhere_are_no_imports() -> Result<()> {
        let files = [
            ("lib.rs", "mod a; use a::b; pub use a::{x as y, y as x}; use std::fs;"),
            ("a.rs", "pub use super::{x, y, b}; fn f(it: fs::File) { ::a::b(); it.b() }"),
        ];
        assert_eq!(imports(&files)?, "");
        Ok(())
    }

    #[test]
    fn the_command_line_is_imported_by_itself_only() -> Result<()> {
        let files = [
            ("lib.rs", "mod conntrack;"),
            ("conntrack.rs", "mod src;"),
            ("conntrack/src.rs", "mod cli; mod watch;"),
            ("conntrack/src/cli/mod.rs", "mod values; pub struct Cli(values::V);"),
            ("conntrack/src/cli/values.rs", "pub struct V; use crate::conntrack::src::watch::W;"),
            ("conntrack/src/watch.rs", "pub struct W;"),
        ];
        assert!(faults_of(&read(&files)?).is_empty());
        let mut wrong = files;
        wrong[5].1 = "use super::cli::Cli;";
        let faults = faults_of(&read(&wrong)?);
        assert!(
            faults.iter().any(|it| it.contains("watch.rs:1 imports super::cli::Cli")),
            "{faults:?}"
        );
        Ok(())
    }
}
