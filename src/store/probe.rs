//! Two questions that only doing answers: whether the server commits, and what time it has.

use tokio_postgres::Client;

use crate::reading::Timestamp;

/// Bytes that each probe writes anew, about a page: a row that fits where it was would also be written on a full disk.
const BYTES: usize = 8 * 1024;

/// Commits a small write. It goes the way of every commit: not on a standby, not read-only, not on a full disk, not while
/// an absent synchronous replica is waited for. One row for all replicas, so nothing grows.
pub async fn commit(client: &Client) -> Result<(), tokio_postgres::Error> {
    let mut filler = vec![0_u8; BYTES];
    rand::fill(&mut filler[..]);
    let sql = "INSERT INTO write_probe (place, written_at, filler) VALUES (1, now(), $1) \
               ON CONFLICT (place) DO UPDATE SET written_at = excluded.written_at, filler = excluded.filler";
    client.execute(sql, &[&filler]).await?;
    Ok(())
}

/// How far the server's clock is ahead of ours, microseconds; negative: behind. As little as the way there and back
/// allows: what the journey alone could explain is no difference.
pub async fn clock_offset(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let before = Timestamp::now();
    let row = client.query_one("SELECT clock_timestamp()", &[]).await?;
    let after = Timestamp::now();
    Ok(offset(before, row.try_get(0)?, after))
}

fn offset(before: Timestamp, server: Timestamp, after: Timestamp) -> i64 {
    if server > after { server.micros_since(after) } else { server.micros_since(before).min(0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_wrong_clock() {
        let at = Timestamp::from_micros;
        assert_eq!(offset(at(100), at(100), at(900)), 0);
        assert_eq!(offset(at(100), at(900), at(900)), 0);
        assert_eq!(offset(at(100), at(950), at(900)), 50);
        assert_eq!(offset(at(100), at(40), at(900)), -60);
    }
}
