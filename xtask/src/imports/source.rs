//! The modules of a crate as its source text has them: which file each is in, the names it defines and
//! imports, and every path it mentions. It resolves nothing. Code for tests is left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    mem,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Expr, ImplItem, Item, ItemMod, ItemUse, Lit, Macro, Meta, UseTree,
    ext::IdentExt as _,
    visit::{self, Visit},
};

/// A module's place among all modules of its crate; the root's is 0.
pub(super) type Id = usize;

/// A module, in a file of its own or not.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    pub(super) parent: Option<Id>,
    pub(super) children: BTreeMap<String, Vec<Id>>,
    /// What it defines besides modules.
    pub(super) items: BTreeSet<String>,
    /// What it imports, by the name that it gives it.
    pub(super) imports: Vec<(String, Mention)>,
    /// Whose names it imports, all of them.
    pub(super) globs: Vec<Mention>,
    /// Every path in it, imports among them.
    pub(super) mentions: Vec<Mention>,
}

/// A path that is mentioned somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// What gives the text of a file.
pub(super) type Files<'f> = dyn Fn(&Path) -> io::Result<String> + 'f;

/// All modules of the crate whose first file this is.
///
/// # Errors
/// That a file is not there or no Rust.
pub(super) fn read(root: &Path, files: &Files<'_>) -> Result<Vec<Module>> {
    let folder = root.parent().unwrap_or(Path::new("")).to_owned();
    let mut modules = vec![Module { file: root.to_owned(), ..Module::default() }];
    let text = files(root).with_context(|| root.display().to_string())?;
    // Files yet to be read, with the module that each is and the folder of its own modules.
    let mut unread = vec![(0, folder, text)];
    while let Some((id, folder, text)) = unread.pop() {
        let path = modules[id].file.clone();
        let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        let mut reader = Reader { modules, current: id, folder, outside: Vec::new() };
        reader.visit_file(&file);
        modules = reader.modules;
        for outside in reader.outside {
            unread.push(outside.find(&mut modules, files)?);
        }
    }
    Ok(modules)
}

/// A module that is in another file.
struct Outside {
    id: Id,
    /// Where it may be, with the folder of its own modules.
    candidates: Vec<(PathBuf, PathBuf)>,
}

impl Outside {
    fn find(self, modules: &mut [Module], files: &Files<'_>) -> Result<(Id, PathBuf, String)> {
        for (path, folder) in self.candidates {
            match files(&path) {
                Ok(text) => {
                    modules[self.id].file = path;
                    return Ok((self.id, folder, text));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).with_context(|| path.display().to_string()),
            }
        }
        bail!("{}: a module in it has no file", modules[self.id].file.display())
    }
}

/// Reads one file.
struct Reader {
    modules: Vec<Module>,
    current: Id,
    /// Where the files of the current module's modules are.
    folder: PathBuf,
    outside: Vec<Outside>,
}

impl Reader {
    fn module(&mut self) -> &mut Module {
        &mut self.modules[self.current]
    }

    fn mention(&mut self, segments: Vec<String>, line: usize) {
        self.module().mentions.push(Mention { segments, line });
    }

    fn add_child(&mut self, name: &str) -> Id {
        let id = self.modules.len();
        let file = self.module().file.clone();
        self.modules.push(Module { file, parent: Some(self.current), ..Module::default() });
        self.module().children.entry(name.to_owned()).or_default().push(id);
        id
    }

    fn inside(&mut self, id: Id, name: &str, items: &[Item]) {
        let folder = self.folder.join(name);
        let above = mem::replace(&mut self.current, id);
        let above_folder = mem::replace(&mut self.folder, folder);
        for item in items {
            self.visit_item(item);
        }
        (self.current, self.folder) = (above, above_folder);
    }

    fn outside(&self, id: Id, name: &str, attributes: &[Attribute]) -> Outside {
        let own = self.folder.join(name);
        let candidates = if let Some(path) = attributes.iter().find_map(path_attribute) {
            let path = self.modules[id].file.with_file_name(path);
            let folder = path.parent().unwrap_or(Path::new("")).to_owned();
            vec![(path, folder)]
        } else {
            vec![(own.with_extension("rs"), own.clone()), (own.join("mod.rs"), own)]
        };
        Outside { id, candidates }
    }

    fn import(&mut self, tree: &UseTree, above: &[String]) {
        match tree {
            UseTree::Path(path) => {
                let above = [above, &[path.ident.unraw().to_string()]].concat();
                self.import(&path.tree, &above);
            }
            UseTree::Name(name) => {
                let line = name.ident.span().start().line;
                let name = name.ident.unraw().to_string();
                self.import_as(name.clone(), above, name, line);
            }
            UseTree::Rename(it) => {
                let line = it.ident.span().start().line;
                self.import_as(
                    it.rename.unraw().to_string(),
                    above,
                    it.ident.unraw().to_string(),
                    line,
                );
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.module().globs.push(Mention { segments: above.to_vec(), line });
            }
            UseTree::Group(group) => group.items.iter().for_each(|it| self.import(it, above)),
        }
    }

    /// `name` of the path `above`, which is called `alias` here.
    fn import_as(&mut self, alias: String, above: &[String], name: String, line: usize) {
        // `use above::{self}` imports `above` by its last name.
        let (alias, segments) = if name == "self" {
            let last = above.last().cloned().unwrap_or_default();
            (if alias == "self" { last } else { alias }, above.to_vec())
        } else {
            (alias, [above, &[name]].concat())
        };
        let mention = Mention { segments, line };
        self.module().imports.push((alias, mention.clone()));
        self.module().mentions.push(mention);
    }

    /// Every path in the input of a macro, which may be anything: names with `::` between them.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if let TokenTree::Group(group) = &tokens[at] {
                self.tokens(group.stream());
            }
            let path = path_at(&tokens[at..]);
            // A field or a method, or the rest of a path that began with a type.
            let is_rest = is_punct(tokens[..at].last(), '.') || ends_with_separator(&tokens[..at]);
            if let (Some(TokenTree::Ident(first)), false) = (path.first(), is_rest) {
                let line = first.span().start().line;
                let names = path.iter().filter(|it| matches!(it, TokenTree::Ident(_)));
                self.mention(names.map(name_of).collect(), line);
            }
            at += path.len().max(1);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes(item).iter().any(is_for_tests) {
            return;
        }
        if let Some(name) = name(item) {
            self.module().items.insert(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(it) => &it.attrs[..],
            ImplItem::Const(it) => &it.attrs[..],
            _ => &[],
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.unraw().to_string();
        let id = self.add_child(&name);
        if let Some((_, items)) = &item.content {
            self.inside(id, &name, items);
        } else {
            let outside = self.outside(id, &name, &item.attrs);
            self.outside.push(outside);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        // `use ::name` is of another crate.
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter().map(|it| it.ident.unraw().to_string()).collect();
            let line = path.segments.first().map_or(0, |it| it.ident.span().start().line);
            self.mention(segments, line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'ast Macro) {
        self.tokens(it.tokens.clone());
        visit::visit_macro(self, it);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }
}

/// The tokens of the path that these begin with.
fn path_at(tokens: &[TokenTree]) -> &[TokenTree] {
    let mut length = 0;
    while let Some(TokenTree::Ident(_)) = tokens.get(length) {
        length += 1;
        let goes_on = ends_with_separator(tokens.get(length..length + 2).unwrap_or_default())
            && matches!(tokens.get(length + 2), Some(TokenTree::Ident(_)));
        if !goes_on {
            break;
        }
        length += 2;
    }
    &tokens[..length]
}

fn ends_with_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [.., one, two] if is_punct(Some(one), ':') && is_punct(Some(two), ':'))
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}

fn name_of(token: &TokenTree) -> String {
    let name = token.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

/// The name that an item has besides modules and imports.
fn name(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(it) => &it.ident,
        Item::Enum(it) => &it.ident,
        Item::Fn(it) => &it.sig.ident,
        Item::Macro(it) => it.ident.as_ref()?,
        Item::Static(it) => &it.ident,
        Item::Struct(it) => &it.ident,
        Item::Trait(it) => &it.ident,
        Item::TraitAlias(it) => &it.ident,
        Item::Type(it) => &it.ident,
        Item::Union(it) => &it.ident,
        _ => return None,
    };
    Some(ident.unraw().to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

/// Whether it is `#[cfg(test)]`, or such a condition and more.
fn is_for_tests(attribute: &Attribute) -> bool {
    let Meta::List(list) = &attribute.meta else { return false };
    let condition = list.tokens.to_string();
    let mut words = condition.split(|c: char| !c.is_alphanumeric());
    attribute.path().is_ident("cfg")
        && words.clone().any(|word| word == "test")
        && !words.any(|word| word == "not" || word == "any")
}

/// What `#[path = "…"]` says.
fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(it) = &attribute.meta else { return None };
    match &it.value {
        Expr::Lit(value) if attribute.path().is_ident("path") => match &value.lit {
            Lit::Str(path) => Some(path.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(files: &[(&str, &str)]) -> Result<Vec<Module>> {
        let find = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned()).ok_or(ErrorKind::NotFound.into())
        };
        read(Path::new(files[0].0), &find)
    }

    fn mentions(text: &str) -> Result<Vec<String>> {
        let modules = read_all(&[("lib.rs", text)])?;
        Ok(modules[0].mentions.iter().map(|it| it.segments.join("::")).collect())
    }

    #[test]
    fn modules_are_found_where_the_compiler_finds_them() -> Result<()> {
        let modules = read_all(&[
            ("src/main.rs", "mod a; mod b; mod inner { mod c; } #[path = \"../d/mod.rs\"] mod d;"),
            ("src/a.rs", "mod deep;"),
            ("src/a/deep.rs", ""),
            ("src/b/mod.rs", "mod deep;"),
            ("src/b/deep/mod.rs", ""),
            ("src/inner/c.rs", ""),
            ("src/../d/mod.rs", "mod e;"),
            ("src/../d/e.rs", ""),
        ])?;
        let files: BTreeSet<_> = modules.iter().filter_map(|it| it.file.to_str()).collect();
        assert_eq!(files.len(), 8, "{files:?}");
        assert!(files.contains("src/inner/c.rs") && files.contains("src/../d/e.rs"), "{files:?}");
        Ok(())
    }

    #[test]
    fn a_module_without_a_file_is_an_error() {
        let error = read_all(&[("lib.rs", "mod gone;")]).expect_err("no file");
        assert!(error.to_string().starts_with("lib.rs: "), "{error}");
    }

    #[test]
    fn every_kind_of_import_is_a_mention() -> Result<()> {
        let text = "use a::{b, c::d as e, f::{self, g}}; pub use ::other::crate_; use h::*;";
        assert_eq!(mentions(text)?, ["a::b", "a::c::d", "a::f", "a::f::g"]);
        let modules = read_all(&[("lib.rs", text)])?;
        let names: Vec<_> = modules[0].imports.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "e", "f", "g"]);
        assert_eq!(modules[0].globs[0].segments, ["h"]);
        Ok(())
    }

    #[test]
    fn paths_in_macros_and_attributes_are_mentions() -> Result<()> {
        let text = "#[arg(parser = values::port)] fn f() { say!(\"{}\", a::b(c.d, <T>::e)); }";
        let found = mentions(text)?;
        for expected in ["values::port", "a::b", "c", "say"] {
            assert!(found.iter().any(|it| it == expected), "{expected}: {found:?}");
        }
        assert!(!found.iter().any(|it| it == "d" || it == "e"), "{found:?}");
        Ok(())
    }

    #[test]
    fn what_is_for_tests_only_is_left_out() -> Result<()> {
        let text = "#[cfg(test)] use a::b; #[cfg(test)] mod gone; #[cfg(all(test, unix))] fn f() { c::d }\
            impl T { #[cfg(test)] fn g() { e::f } } #[cfg(not(test))] use g::h;";
        let found = mentions(text)?;
        assert!(found.contains(&"g::h".to_owned()), "{found:?}");
        assert!(
            !found.iter().any(|it| ["a::b", "c::d", "e::f"].contains(&it.as_str())),
            "{found:?}"
        );
        Ok(())
    }
}
