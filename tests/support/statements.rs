//! Where a command can stand in the text of the node program.

/// Not the rest of another line, nor in the list of a `case`, where after `;;` a comment may stand and no command.
pub(crate) fn stands_alone(line: &str, before: &str) -> bool {
    let continues = ["&&", "||", "\\", "|", "in", ";;"].iter().any(|end| before.ends_with(end));
    let joins =
        ["then", "else", "elif", "fi", "do", "done", "esac", "}", ")", ";;"].iter().any(|word| line.starts_with(word));
    let pattern = line.contains(") ") && !line.contains("$(") && !line.starts_with('(');
    !line.is_empty() && !continues && !joins && !pattern && !line.ends_with(";;") && !line.ends_with(')')
}
