// The state of the service: one snapshot, then a pulse a second; after any loss a snapshot again.

const SILENCE_MS = 6000;
const AGAIN_MS = 1500;

// `on.snapshot(state)`, `on.pulse(state)`, `on.lost()`.
export function follow(on) {
  let source = null;
  let silence = 0;

  const heard = () => {
    clearTimeout(silence);
    silence = setTimeout(lose, SILENCE_MS);
  };
  const lose = () => {
    clearTimeout(silence);
    source?.close();
    source = null;
    on.lost();
    setTimeout(begin, AGAIN_MS);
  };
  const begin = async () => {
    try {
      const answer = await fetch("/api/v1/live", { signal: AbortSignal.timeout(SILENCE_MS) });
      if (!answer.ok) throw new Error(answer.status);
      on.snapshot(await answer.json());
    } catch {
      return lose();
    }
    source = new EventSource("/api/v1/live/stream");
    source.addEventListener("pulse", (event) => {
      heard();
      on.pulse(JSON.parse(event.data));
    });
    source.onerror = lose;
    heard();
  };
  begin();
}

export async function read(address) {
  const answer = await fetch(address);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? body.title);
  return body;
}
