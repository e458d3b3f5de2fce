// Browsers start no worker from a file, and the site's search is one. A hidden frame does its work
// where the site is read without a server.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.appendChild(frame);
      const inside = frame.contentWindow;
      // Messages wait until the script is there.
      const waiting = [];
      const deliver = (data) => inside.dispatchEvent(new MessageEvent("message", { data }));
      this.postMessage = (data) => waiting.push(data);
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      inside.importScripts = (...urls) =>
        urls.reduce((done, each) => done.then(() => load(inside.document, each)), Promise.resolve());
      load(inside.document, url).then(() => {
        this.postMessage = deliver;
        waiting.forEach(deliver);
      });
    }
  };
  const load = (doc, src) =>
    new Promise((resolve, reject) => {
      const script = doc.createElement("script");
      script.src = src;
      script.onload = resolve;
      script.onerror = reject;
      doc.body.appendChild(script);
    });
}
