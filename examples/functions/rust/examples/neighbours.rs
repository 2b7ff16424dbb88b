//! A read function: the keys of all rows that share what stands before the last `/` of the key,
//! one a line. The table must keep them together: `breccia table create T --partition before:/`.

use breccia_guest::{read_function, scan, Call};

fn neighbours(call: &Call) -> Result<Vec<u8>, String> {
    let slash = call.key().iter().rposition(|byte| *byte == b'/').ok_or("the key has no /")?;
    let prefix = call.key().get(..=slash).unwrap_or_default();
    let (mut lines, mut after) = (Vec::new(), Vec::new());
    loop {
        let rows = scan(prefix, &after, 1_000);
        match rows.last() {
            None => return Ok(lines),
            Some(last) => after = last.key.clone(),
        }
        for row in rows {
            lines.extend(row.key);
            lines.push(b'\n');
        }
    }
}

read_function!(neighbours);

#[cfg(test)]
mod tests {
    use super::*;
    use breccia_guest::testing;

    #[test]
    fn neighbours_are_those_with_the_same_beginning() {
        for key in ["shop/1", "shop/2", "store/1"] {
            testing::set_row(key, "");
        }
        let found = neighbours(&testing::call(["shop/9"], [""; 0]));
        assert_eq!(found, Ok(b"shop/1\nshop/2\n".to_vec()));
    }
}
