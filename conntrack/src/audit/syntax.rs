//! The outer form of a file for `nft -f`: blocks and statements, with the lines that they begin
//! on. What a statement says is the matter of [`super::rules`].

/// A word, a quoted string without its quotes, or a brace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token<'a> {
    line: usize,
    text: &'a str,
}

/// Something in a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// Up to a semicolon or the end of the line, literals in braces included.
    Statement(Statement<'a>),
    /// What stands before a brace, and what is in the block.
    Block(Statement<'a>, Vec<Item<'a>>),
}

/// Words, and the line of the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    pub(super) line: usize,
    pub(super) words: Vec<&'a str>,
}

/// What opens a block; any other brace opens a literal.
const BLOCKS: [&str; 4] = ["table", "set", "chain", "map"];
/// Ends a statement.
const END: &str = ";";

/// The items of a file. Braces that do not match end where the file does.
pub(super) fn parse(text: &str) -> Vec<Item<'_>> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        for token in tokens(index + 1, line) {
            reader.take(&token);
        }
    }
    reader.end_statement();
    while !reader.open.is_empty() {
        reader.end_block();
    }
    reader.items
}

/// What has been read up to a token.
#[derive(Default)]
struct Reader<'a> {
    /// Blocks that are open: what stands before each, and the items before it.
    open: Vec<(Statement<'a>, Vec<Item<'a>>)>,
    /// The items of the innermost block.
    items: Vec<Item<'a>>,
    statement: Statement<'a>,
    in_literal: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, token: &Token<'a>) {
        let opens_block = self.statement.words.first().is_some_and(|word| BLOCKS.contains(word));
        match token.text {
            END if self.in_literal => {}
            END => self.end_statement(),
            "{" if opens_block => {
                let head = std::mem::take(&mut self.statement);
                self.open.push((head, std::mem::take(&mut self.items)));
            }
            "}" if !self.in_literal => self.end_block(),
            word => {
                self.in_literal = word == "{" || self.in_literal && word != "}";
                self.statement.push(token);
            }
        }
    }

    fn end_statement(&mut self) {
        if !self.statement.words.is_empty() {
            self.items.push(Item::Statement(std::mem::take(&mut self.statement)));
        }
    }

    fn end_block(&mut self) {
        self.end_statement();
        let (head, outer) = self.open.pop().unwrap_or_default();
        let block = Item::Block(head, std::mem::replace(&mut self.items, outer));
        self.items.push(block);
    }
}

impl<'a> Statement<'a> {
    fn push(&mut self, token: &Token<'a>) {
        if self.words.is_empty() {
            self.line = token.line;
        }
        self.words.push(token.text);
    }
}

/// The tokens of a line; its end is one, too.
fn tokens(line: usize, text: &str) -> Vec<Token<'_>> {
    const ALONE: [char; 5] = ['{', '}', ',', ';', '='];
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next().filter(|first| *first != '#') {
        let is_end = |it: char| it.is_whitespace() || it == '"' || it == '#' || ALONE.contains(&it);
        let (word, later) = match first {
            '"' => rest[1..].split_once('"').unwrap_or((&rest[1..], "")),
            _ if rest.starts_with("!=") => rest.split_at(2),
            _ if ALONE.contains(&first) => rest.split_at(1),
            _ => rest.split_at(rest.find(is_end).unwrap_or(rest.len())),
        };
        tokens.push(Token { line, text: word });
        rest = later.trim_start();
    }
    tokens.push(Token { line, text: END });
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement<'a>(line: usize, words: &[&'a str]) -> Statement<'a> {
        Statement { line, words: words.to_vec() }
    }

    #[test]
    fn blocks_hold_statements_and_statements_hold_literals() {
        let text = "delete table x # old\ntable x {\n chain c { a; b \"c d\" }\n\
            set s { elements = { 1,\n 2 } }\n}\n";
        let chain = Item::Block(
            statement(3, &["chain", "c"]),
            vec![
                Item::Statement(statement(3, &["a"])),
                Item::Statement(statement(3, &["b", "c d"])),
            ],
        );
        let elements = statement(4, &["elements", "=", "{", "1", ",", "2", "}"]);
        let set = Item::Block(statement(4, &["set", "s"]), vec![Item::Statement(elements)]);
        let table = Item::Block(statement(2, &["table", "x"]), vec![chain, set]);
        let delete = Item::Statement(statement(1, &["delete", "table", "x"]));
        assert_eq!(parse(text), [delete, table]);
    }

    #[test]
    fn braces_that_do_not_match_are_no_end_of_the_world() {
        for text in ["}", "table x {", "{", "a { b", "\"", "table x { chain c {", "}}{{"] {
            parse(text);
        }
    }
}
