//! Files that import from each other, directly or by way of others.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::{self, Display},
    path::Path,
};

use super::graph::{Graph, Import};

/// Imports that lead from a file back to it.
pub(super) struct Circle<'g>(Vec<Import<'g>>);

/// For each file in any circle a shortest one, each told once.
pub(super) fn all(graph: &Graph) -> Vec<Circle<'_>> {
    let mut told = BTreeSet::new();
    let circles = graph.files().filter_map(|file| shortest(graph, file));
    circles.filter(|circle| told.insert(circle.files())).collect()
}

impl<'g> Circle<'g> {
    fn files(&self) -> BTreeSet<&'g Path> {
        self.0.iter().map(|import| import.from).collect()
    }
}

impl Display for Circle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circle of {} files:", self.0.len())?;
        self.0.iter().try_for_each(|import| write!(f, "\n    {import}"))
    }
}

/// A shortest way from this file back to it, breadth first.
fn shortest<'g>(graph: &'g Graph, file: &Path) -> Option<Circle<'g>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([Vec::new()]);
    while let Some(way) = ways.pop_front() {
        let end = way.last().map_or(file, |import: &Import<'_>| import.to);
        for import in graph.imports_of(end).filter(|import| seen.insert(import.to)) {
            let mut longer = way.clone();
            longer.push(import);
            if import.to == file {
                return Some(Circle(longer));
            }
            ways.push_back(longer);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(imports: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to) in imports {
            graph.add(Path::new(from), Path::new(to), 1, "X".to_owned());
        }
        graph
    }

    fn files(imports: &[(&str, &str)]) -> Vec<String> {
        let graph = graph(imports);
        let circles = all(&graph);
        let names = |circle: &Circle<'_>| -> Vec<_> {
            circle.files().iter().map(|it| it.display().to_string()).collect()
        };
        circles.iter().map(|circle| names(circle).concat()).collect()
    }

    #[test]
    fn two_ways_to_one_file_are_no_circle() {
        assert!(files(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", "e")]).is_empty());
    }

    #[test]
    fn a_circle_is_told_once_and_without_what_leads_to_it() {
        assert_eq!(files(&[("a", "b"), ("b", "c"), ("c", "b")]), ["bc"]);
        assert_eq!(files(&[("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")]), ["abc"]);
    }

    #[test]
    fn each_of_several_circles_is_told() {
        assert_eq!(files(&[("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")]), ["ab", "cd"]);
        // b is in both; a's own and c's own are told.
        assert_eq!(files(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")]), ["ab", "bc"]);
    }

    #[test]
    fn a_file_is_no_circle_by_itself() {
        assert!(files(&[("a", "a")]).is_empty());
    }

    #[test]
    fn each_import_of_a_circle_is_named() {
        let graph = graph(&[("a.rs", "b.rs"), ("b.rs", "a.rs")]);
        let text = all(&graph).iter().map(ToString::to_string).collect::<String>();
        let expected = "circle of 2 files:\n    a.rs:1 imports X from b.rs\n    \
                        b.rs:1 imports X from a.rs";
        assert_eq!(text, expected);
    }
}
