//! Enough of a Rust reader to find every path that a source file names: `a::b::c`, with `use` groups taken apart.

/// A piece of source text: comments, strings and characters are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `::`
    Sep,
    Mark(char),
}

/// A path as it is written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// The line it begins in, from 1.
    pub(crate) line: usize,
    /// The module it is written in.
    pub(crate) module: Vec<String>,
    /// Its segments, made absolute: `super` and `self` are resolved into `crate`, and the path's own aliases are not.
    pub(crate) segments: Vec<String>,
}

/// Every path in `source`, the text of the module `module` (`["crate", "chain", "block"]`).
pub(crate) fn named(source: &str, module: &[String]) -> Vec<Named> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    // Inline modules around the current place, each with the depth of braces outside it.
    let mut inline: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < tokens.len() {
        let (line, token) = &tokens[at];
        match token {
            Token::Word(word) if word == "mod" => {
                if let (Some((_, Token::Word(name))), Some((_, Token::Mark('{')))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    inline.push((name.clone(), depth));
                    depth += 1;
                    at += 2;
                }
                at += 1;
            }
            Token::Mark('{') => {
                depth += 1;
                at += 1;
            }
            Token::Mark('}') => {
                depth -= 1;
                if inline.last().is_some_and(|(_, outside)| *outside == depth) {
                    inline.pop();
                }
                at += 1;
            }
            Token::Word(_) | Token::Sep => {
                let mut here = module.to_vec();
                here.extend(inline.iter().map(|(name, _)| name.clone()));
                let mut paths = Vec::new();
                at = path(&tokens, at, &[], &mut paths);
                found.extend(paths.into_iter().map(|path| Named {
                    line: *line,
                    segments: absolute(path, &here),
                    module: here.clone(),
                }));
            }
            Token::Mark(_) => at += 1,
        }
    }
    found
}

/// Reads one path, or one tree of a `use`, from `at`; returns where it ends.
fn path(tokens: &[(usize, Token)], mut at: usize, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut segments = before.to_vec();
    loop {
        match tokens.get(at).map(|(_, token)| token) {
            Some(Token::Sep) => at += 1,
            Some(Token::Word(word)) => {
                segments.push(word.clone());
                at += 1;
                if !matches!(tokens.get(at), Some((_, Token::Sep))) {
                    break;
                }
            }
            Some(Token::Mark('*')) if segments.len() > before.len() || !before.is_empty() => {
                segments.push("*".to_owned());
                at += 1;
                break;
            }
            Some(Token::Mark('{')) if !segments.is_empty() => {
                at += 1;
                while !matches!(tokens.get(at), None | Some((_, Token::Mark('}')))) {
                    let next = path(tokens, at, &segments, found);
                    at = if next == at { at + 1 } else { next };
                    // An alias says nothing about where the name comes from.
                    if matches!(tokens.get(at), Some((_, Token::Word(word))) if word == "as") {
                        at += 2;
                    }
                }
                return at + 1;
            }
            _ => break,
        }
    }
    if segments.len() > before.len() {
        found.push(segments);
    }
    at
}

/// `path`, written inside the module `here`, from the root of the crate.
fn absolute(path: Vec<String>, here: &[String]) -> Vec<String> {
    let mut base = match path.first().map(String::as_str) {
        Some("self" | "super") => here.to_vec(),
        _ => return path,
    };
    let mut rest = path.into_iter().peekable();
    rest.next_if(|segment| segment == "self");
    while rest.next_if(|segment| segment == "super").is_some() {
        base.pop();
    }
    base.extend(rest);
    base
}

fn tokens(source: &str) -> Vec<(usize, Token)> {
    let text: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while at < text.len() {
        let from = at;
        let here = line;
        let next = text.get(at + 1).copied();
        match text[at] {
            '/' if next == Some('/') => at = until(&text, at, |at| text[at] == '\n'),
            '/' if next == Some('*') => at = block_comment_end(&text, at),
            '"' => at = string_end(&text, at),
            '\'' => at = character_end(&text, at),
            ':' if next == Some(':') => {
                found.push((here, Token::Sep));
                at += 2;
            }
            first if first.is_alphanumeric() || first == '_' => {
                at = until(&text, at, |at| !(text[at].is_alphanumeric() || text[at] == '_'));
                let word: String = text[from..at].iter().collect();
                match text.get(at) {
                    // Prefixed strings, raw or not, and raw identifiers.
                    Some('"' | '#') if ["r", "br", "cr"].contains(&word.as_str()) => {
                        let hashes = until(&text, at, |at| text[at] != '#') - at;
                        if text.get(at + hashes) == Some(&'"') {
                            at = raw_string_end(&text, at + hashes + 1, hashes);
                        } else {
                            at += hashes;
                        }
                    }
                    Some('"') if ["b", "c"].contains(&word.as_str()) => at = string_end(&text, at),
                    Some('\'') if word == "b" => at = character_end(&text, at),
                    _ => found.push((here, Token::Word(word))),
                }
            }
            mark => {
                if !mark.is_whitespace() {
                    found.push((here, Token::Mark(mark)));
                }
                at += 1;
            }
        }
        line += text[from..at].iter().filter(|&&c| c == '\n').count();
    }
    found
}

fn until(text: &[char], mut at: usize, stop: impl Fn(usize) -> bool) -> usize {
    while at < text.len() && !stop(at) {
        at += 1;
    }
    at
}

fn block_comment_end(text: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < text.len() {
        match text[at..].get(..2) {
            Some(['/', '*']) => {
                depth += 1;
                at += 2;
            }
            Some(['*', '/']) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string_end(text: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

fn raw_string_end(text: &[char], from: usize, hashes: usize) -> usize {
    let end = until(text, from, |at| {
        text[at] == '"' && text[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes
    });
    (end + 1 + hashes).min(text.len())
}

/// The end of a character, or of the quote alone when it begins a lifetime.
fn character_end(text: &[char], quote: usize) -> usize {
    match text.get(quote + 1) {
        Some('\\') => (until(text, quote + 3, |at| text[at] == '\'') + 1).min(text.len()),
        Some(_) if text.get(quote + 2) == Some(&'\'') => quote + 3,
        _ => quote + 1,
    }
}
