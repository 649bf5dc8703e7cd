//! From text to a filter: a tokenizer and a recursive descent, bounded in depth.

use super::value::{KeyType, PartitionKey, Value};
use super::{Column, ExpressionError, Node, Operator};

/// How deep parentheses and NOTs may nest: the parser recurses once for each.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Number(String),
    Operator(Operator),
    Open,
    Close,
    Comma,
}

/// A token and the character at which it begins.
type Placed = (usize, Token);

pub(super) fn parse(text: &str, keys: &[PartitionKey]) -> Result<Node, ExpressionError> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, place: 0, keys, end: text.chars().count() };
    let node = parser.any(0)?;
    if parser.peek().is_some() { Err(parser.unexpected("AND, OR or the end")) } else { Ok(node) }
}

fn tokens(text: &str) -> Result<Vec<Placed>, ExpressionError> {
    let characters: Vec<char> = text.chars().collect();
    let get = |at: usize| characters.get(at).copied();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = get(at) {
        let start = at;
        at += 1;
        let token = match (first, get(at)) {
            (space, _) if space.is_whitespace() => continue,
            ('(', _) => Token::Open,
            (')', _) => Token::Close,
            (',', _) => Token::Comma,
            ('<', Some('>')) | ('!', Some('=')) => double(&mut at, Operator::NotEqual),
            ('<', Some('=')) => double(&mut at, Operator::LessOrEqual),
            ('>', Some('=')) => double(&mut at, Operator::GreaterOrEqual),
            ('=', _) => Token::Operator(Operator::Equal),
            ('<', _) => Token::Operator(Operator::Less),
            ('>', _) => Token::Operator(Operator::Greater),
            (quote @ ('\'' | '"' | '`'), _) => {
                let content = quoted(&characters, &mut at, quote)
                    .ok_or(ExpressionError::Unexpected { expected: "a closing quote", at: start })?;
                if quote == '\'' { Token::Text(content) } else { Token::Word(content) }
            }
            (digit, _) if digit.is_ascii_digit() || matches!(digit, '-' | '+' | '.') => {
                Token::Number(run(&characters, start, &mut at, |c| c.is_ascii_alphanumeric() || c == '.'))
            }
            (letter, _) if letter.is_alphabetic() || letter == '_' => {
                Token::Word(run(&characters, start, &mut at, |c| c.is_alphanumeric() || c == '_'))
            }
            _ => return Err(ExpressionError::Unexpected { expected: "a name, a value or an operator", at: start }),
        };
        tokens.push((start, token));
    }
    Ok(tokens)
}

fn double(at: &mut usize, operator: Operator) -> Token {
    *at += 1;
    Token::Operator(operator)
}

fn run(characters: &[char], start: usize, at: &mut usize, takes: impl Fn(char) -> bool) -> String {
    while characters.get(*at).is_some_and(|next| takes(*next)) {
        *at += 1;
    }
    characters.get(start..*at).unwrap_or_default().iter().collect()
}

/// The content up to the closing quote; a doubled quote is one.
fn quoted(characters: &[char], at: &mut usize, quote: char) -> Option<String> {
    let mut content = String::new();
    loop {
        let next = *characters.get(*at)?;
        *at += 1;
        if next == quote {
            if characters.get(*at) != Some(&quote) {
                return Some(content);
            }
            *at += 1;
        }
        content.push(next);
    }
}

struct Parser<'a> {
    tokens: &'a [Placed],
    place: usize,
    keys: &'a [PartitionKey],
    end: usize,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.all(depth)?];
        while self.word("OR") {
            nodes.push(self.all(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Any(nodes) })
    }

    fn all(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        let mut nodes = vec![self.unary(depth)?];
        while self.word("AND") {
            nodes.push(self.unary(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::All(nodes) })
    }

    fn unary(&mut self, depth: usize) -> Result<Node, ExpressionError> {
        if depth == MAX_DEPTH {
            return Err(ExpressionError::TooDeep);
        }
        if self.word("NOT") {
            return Ok(Node::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.take(&Token::Open) {
            let node = self.any(depth + 1)?;
            self.expect(&Token::Close, "a closing parenthesis")?;
            return Ok(node);
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, ExpressionError> {
        if let Some(literal) = self.literal() {
            let operator = self.operator()?;
            let (name, column) = self.column()?;
            return Ok(Node::Compare(column, operator.turned(), typed(&name, column, &literal)?));
        }
        let (name, column) = self.column()?;
        if self.word("IS") {
            let negated = self.word("NOT");
            return if self.word("NULL") {
                Ok(negate(Node::IsNull(column), negated))
            } else {
                Err(self.unexpected("NULL"))
            };
        }
        let negated = self.word("NOT");
        if self.word("IN") {
            return Ok(negate(self.list(&name, column)?, negated));
        }
        if self.word("BETWEEN") {
            let low = self.value(&name, column)?;
            if !self.word("AND") {
                return Err(self.unexpected("AND"));
            }
            let high = self.value(&name, column)?;
            let range = vec![
                Node::Compare(column, Operator::GreaterOrEqual, low),
                Node::Compare(column, Operator::LessOrEqual, high),
            ];
            return Ok(negate(Node::All(range), negated));
        }
        if self.word("LIKE") {
            let pattern = self.literal().ok_or_else(|| self.unexpected("a pattern"))?;
            return Ok(negate(Node::Like(column, pattern), negated));
        }
        if negated {
            return Err(self.unexpected("IN, BETWEEN or LIKE"));
        }
        let operator = self.operator()?;
        Ok(Node::Compare(column, operator, self.value(&name, column)?))
    }

    fn list(&mut self, name: &str, column: Column) -> Result<Node, ExpressionError> {
        self.expect(&Token::Open, "an opening parenthesis")?;
        let mut values = vec![self.value(name, column)?];
        while self.take(&Token::Comma) {
            values.push(self.value(name, column)?);
        }
        self.expect(&Token::Close, "a comma or a closing parenthesis")?;
        Ok(Node::In(column, values))
    }

    fn value(&mut self, name: &str, column: Column) -> Result<Value, ExpressionError> {
        let literal = self.literal().ok_or_else(|| self.unexpected("a value"))?;
        typed(name, column, &literal)
    }

    /// A quoted text, a number, or `DATE '…'` and `TIMESTAMP '…'`; all as text, since the key's type decides.
    fn literal(&mut self) -> Option<String> {
        let typed_text = matches!(
            (self.peek(), self.tokens.get(self.place + 1)),
            (Some(Token::Word(word)), Some((_, Token::Text(_))))
                if word.eq_ignore_ascii_case("DATE") || word.eq_ignore_ascii_case("TIMESTAMP")
        );
        if typed_text {
            self.place += 1;
        }
        match self.peek() {
            Some(Token::Text(literal) | Token::Number(literal)) => {
                let literal = literal.clone();
                self.place += 1;
                Some(literal)
            }
            Some(Token::Word(_) | Token::Operator(_) | Token::Open | Token::Close | Token::Comma) | None => None,
        }
    }

    fn column(&mut self) -> Result<(String, Column), ExpressionError> {
        let Some(Token::Word(name)) = self.peek() else { return Err(self.unexpected("a partition key")) };
        let name = name.clone();
        let found = self.keys.iter().enumerate().find(|(_, key)| key.name.eq_ignore_ascii_case(&name));
        let (index, key) = found.ok_or_else(|| ExpressionError::UnknownKey { name: name.clone() })?;
        let kind = KeyType::named(&key.kind)
            .ok_or_else(|| ExpressionError::UnsupportedType { name: name.clone(), kind: key.kind.clone() })?;
        self.place += 1;
        Ok((name, Column { index, kind }))
    }

    fn operator(&mut self) -> Result<Operator, ExpressionError> {
        let Some(Token::Operator(operator)) = self.peek() else { return Err(self.unexpected("a comparison")) };
        let operator = *operator;
        self.place += 1;
        Ok(operator)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.place).map(|(_, token)| token)
    }

    fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted));
        self.place += usize::from(found);
        found
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.place += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &Token, expected: &'static str) -> Result<(), ExpressionError> {
        if self.take(wanted) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        let at = self.tokens.get(self.place).map_or(self.end, |(at, _)| *at);
        ExpressionError::Unexpected { expected, at }
    }
}

fn negate(node: Node, negated: bool) -> Node {
    if negated { Node::Not(Box::new(node)) } else { node }
}

fn typed(name: &str, column: Column, literal: &str) -> Result<Value, ExpressionError> {
    let wrong = || ExpressionError::WrongLiteral { name: name.to_owned(), literal: literal.to_owned() };
    column.kind.read(literal).ok_or_else(wrong)
}
