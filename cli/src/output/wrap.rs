//! Long lines on a terminal, broken between words.

/// `text` in pieces of at most `width` characters; a longer word is cut.
pub(super) fn words_of(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        let mut word = word.to_owned();
        if !line.is_empty() && visible(&line) + 1 + visible(&word) > width {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while visible(&line) + visible(&word) > width && !word.contains('\x1b') {
            let cut = word.char_indices().nth(width.max(1)).map_or(word.len(), |(at, _)| at);
            let rest = word.split_off(cut);
            lines.push(std::mem::replace(&mut word, rest));
        }
        line += &word;
    }
    lines.push(line);
    lines
}

/// Every line of `text` at most `width` wide. What goes over goes on under where the line's own text began.
pub(super) fn fit(text: &str, width: usize) -> String {
    let mut fitted = String::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let (head, rest) = line.split_at(begin_of(line));
        let indent = visible(head);
        if visible(line) <= width || indent + 20 > width {
            fitted = fitted + line + end;
            continue;
        }
        let joint = format!("\n{}", " ".repeat(indent));
        fitted = fitted + head + &words_of(rest, width - indent).join(&joint) + end;
    }
    fitted
}

/// Where a line's text begins: behind the last gap among its first columns.
fn begin_of(line: &str) -> usize {
    const MARGIN: usize = 20;
    let (mut begin, mut column, mut spaces, mut hidden) = (0, 0, 0, false);
    for (at, c) in line.char_indices() {
        match c {
            '\x1b' => hidden = true,
            'm' if hidden => hidden = false,
            _ if hidden => {}
            _ if column >= MARGIN => break,
            ' ' => (column, spaces) = (column + 1, spaces + 1),
            _ => {
                if spaces >= 2 {
                    begin = at;
                }
                (column, spaces) = (column + 1, 0);
            }
        }
    }
    begin
}

/// Characters that take a place: colours do not.
fn visible(text: &str) -> usize {
    let (mut count, mut hidden) = (0, false);
    for c in text.chars() {
        match c {
            '\x1b' => hidden = true,
            'm' if hidden => hidden = false,
            _ if hidden => {}
            _ => count += 1,
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_goes_on_where_its_text_began() {
        let text = "  no   every batch is done: one of them is open and waits for a worker\n  yes  short\n";
        let fitted = "  no   every batch is done: one of them\n       is open and waits for a worker\n  yes  short\n";
        assert_eq!(fit(text, 40), fitted);
        assert_eq!(fit(text, 200), text);
        let coloured = "  \x1b[31mno \x1b[0m  every batch is done: one is open\n";
        assert_eq!(fit(coloured, 30), "  \x1b[31mno \x1b[0m  every batch is done:\n       one is open\n");
    }

    #[test]
    fn colours_take_no_place_and_are_not_cut() {
        let text = "\x1b[31mone two three\x1b[0m";
        assert_eq!(fit(text, 30), text);
        assert_eq!(words_of(text, 8), ["\x1b[31mone two", "three\x1b[0m"]);
    }

    #[test]
    fn a_word_that_is_too_long_is_cut_and_nothing_is_lost() {
        let text = "a abcdefghijklmnopqrstuvwxyz b";
        for width in 1..40 {
            let lines = words_of(text, width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        }
    }
}
