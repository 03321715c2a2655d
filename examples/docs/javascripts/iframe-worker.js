/* Search on pages opened from disk: browsers refuse workers there, so the script of one runs in a hidden frame. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = [];
      const frame = document.createElement("iframe");
      frame.hidden = true;
      frame.srcdoc = "<!doctype html><body></body>";
      frame.addEventListener("load", () => this.#start(frame.contentWindow, new URL(url, location)), {once: true});
      document.body.append(frame);
    }
    #start(inner, url) {
      inner.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", {data}));
      const script = inner.document.createElement("script");
      script.src = url;
      script.addEventListener("load", () => {
        this.inner = inner;
        this.waiting.splice(0).forEach((data) => this.postMessage(data));
      });
      inner.document.body.append(script);
    }
    postMessage(data) {
      if (this.inner) this.inner.dispatchEvent(new MessageEvent("message", {data}));
      else this.waiting.push(data);
    }
  };
}
