"""A page that tries every way a browser has to reach a host it must not reach."""

from __future__ import annotations

_HEAD = """
<link rel=stylesheet href="{a}/css"><link rel=icon href="{a}/icon">
<link rel=manifest href="{a}/manifest">
<link rel=prefetch href="{a}/prefetch"><link rel=preload as=image href="{a}/preload">
<link rel=modulepreload href="{a}/modulepreload"><link rel=preconnect href="{a}">
<link rel=dns-prefetch href="{a}"><link rel=prerender href="{a}/prerender">
<script type=speculationrules>{{"prefetch":[{{"urls":["{a}/speculation"],"eagerness":"immediate"}}],
"prerender":[{{"urls":["{a}/speculation2"],"eagerness":"immediate"}}]}}</script>
<style>@import url("{a}/import"); @font-face {{ font-family: far; src: url("{a}/font"); }}
body {{ font-family: far; background: url("{a}/background"); cursor: url("{a}/cursor"), auto; }}
li::before {{ content: url("{a}/content"); }}</style>
"""
_BODY = """
<li>text in the far font</li>
<img src="{a}/img"><img srcset="{a}/srcset 1x"><img src="/redirected">
<input type=image src="{a}/input">
<picture><source srcset="{a}/source"><img src="x:"></picture>
<iframe src="{a}/iframe"></iframe><iframe src="/refreshing"></iframe>
<iframe src="/submitting"></iframe>
<iframe src="/moving"></iframe><iframe srcdoc="<img src='{a}/srcdoc'>"></iframe>
<iframe sandbox="allow-scripts"
 srcdoc="<script>fetch('{a}/sandboxed',{{mode:'no-cors'}})</script>"></iframe>
<iframe src="data:text/html,<img src='{a}/data'>"></iframe>
<object data="{a}/object"></object><embed src="{a}/embed">
<video src="{a}/video" poster="{a}/poster" autoplay muted></video>
<audio src="{a}/audio" autoplay></audio>
<video autoplay muted crossorigin><source src="data:,"><track default src="{a}/track"></video>
<svg width=9 height=9><image href="{a}/svg" width=9 height=9 /><use href="{a}/use#x" /></svg>
<script src="{a}/script"></script><script type=module src="{a}/module"></script>
<a id=ping href="#" ping="{a}/ping">x</a>
<iframe src="file:///etc/passwd"></iframe><iframe src="chrome://version"></iframe>
<script>
const a = "{a}", tries = [
  () => fetch(a + "/fetch", {{ mode: "no-cors" }}),
  () => fetch(a + "/keepalive", {{ mode: "no-cors", keepalive: true }}),
  () => fetch("/redirected?fetch", {{ mode: "no-cors" }}),
  () => {{ const x = new XMLHttpRequest(); x.open("GET", a + "/xhr"); x.send(); }},
  () => navigator.sendBeacon(a + "/beacon", "x"),
  () => new EventSource(a + "/events"),
  () => new WebSocket("ws://{place}/websocket"),
  () => new WebSocket("wss://{place}/secure"),
  () => new Worker(URL.createObjectURL(new Blob([`fetch("${{a}}/worker", {{mode: "no-cors"}});
      try {{ importScripts("${{a}}/importscripts") }} catch {{}}`]))),
  () => new SharedWorker("/worker.js"),
  () => navigator.serviceWorker.register("/state.js").then((one) => one.update()),
  () => open(a + "/popup"),
  () => document.getElementById("ping").click(),
  () => new WebTransport("https://{place}/transport").closed.catch(() => 0),
  () => (new Image().src = "http://localhost:{port}/localhost"),
  () => (new Image().src = "http://sub.localhost:{port}/sublocalhost"),
  () => (new Image().src = "http://[::ffff:127.0.0.1]:{port}/mapped"),
  () => (new Image().src = "http://0:{port}/zero"),
  () => (new Image().src = "http://2130706433:{port}/decimal"),
  () => (new Image().src = "http://rebind.example:{port}/rebound"),
  () => (new Image().src = "http://169.254.169.254/latest/meta-data/"),
  () => (new Image().src = "http://10.0.0.1/private"),
  () => (new Image().src = "http://[fd00:ec2::254]/"),
  () => (new Image().src = "https://192.168.0.1/"),
  () => {{
    const ice = ["stun:{place}", "turn:{place}?transport=udp", "turn:{place}?transport=tcp"];
    const peer = new RTCPeerConnection({{ iceServers: [
      {{ urls: ice, username: "a", credential: "b" }}] }});
    peer.createDataChannel("x");
    return peer.createOffer().then((offer) => peer.setLocalDescription(offer)).then(() =>
      peer.setRemoteDescription({{ type: "answer", sdp: [
        "v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0",
        "m=application {port} UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 127.0.0.1",
        "a=ice-ufrag:abcd", "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + Array(32).fill("AA").join(":"), "a=setup:active", "a=mid:0",
        "a=sctp-port:5000", "a=candidate:1 1 udp 2113937151 127.0.0.1 {port} typ host",
        "a=candidate:2 1 tcp 2113937150 127.0.0.1 {port} typ host tcptype passive", "",
      ].join("\\r\\n") }}));
  }},
  () => {{ alert("x"); confirm("x"); prompt("x"); }},
  () => navigator.geolocation.getCurrentPosition(() => (document.title = "located")),
  () => {{ const link = document.createElement("a"); link.href = "/download"; link.download = "x";
      link.click(); }},
];
for (const one of tries) try {{ Promise.resolve(one()).catch(() => 0); }} catch {{}}
onbeforeunload = () => "stay";
</script>
"""


def hostile_pages(port: int) -> dict[str, str | tuple[int, dict[str, str], bytes]]:
    """Pages by path that all try to reach ``port`` on loopback; the first one is ``/``."""
    place = f"127.0.0.1:{port}"
    names = {"a": f"http://{place}", "place": place, "port": str(port)}
    script = {"Content-Type": "text/javascript"}
    work = f"fetch('http://{place}/{{}}', {{{{mode: 'no-cors'}}}});"
    html = f"<!doctype html><title>hostile</title>{_HEAD}{_BODY}".format_map(names)
    reporting = {
        "Content-Type": "text/html",
        "Content-Security-Policy": f"img-src * data: blob:; report-uri http://{place}/report",
        "Link": f"<http://{place}/link>; rel=preload; as=script",
        "Refresh": "600",
    }
    return {
        "/": (200, reporting, html.encode()),
        "/redirected": (302, {"Location": f"http://{place}/redirected"}, b""),
        "/refreshing": f'<meta http-equiv=refresh content="0;url=http://{place}/refresh">',
        "/submitting": f'<form method=post action="http://{place}/form"></form>'
        "<script>document.forms[0].submit()</script>",
        "/moving": f'<script>location = "http://{place}/location"</script>',
        "/worker.js": (200, script, work.format("sharedworker").encode()),
        "/state.js": (200, script, work.format("serviceworker").encode()),
        "/download": (200, {"Content-Disposition": "attachment"}, b"x"),
    }
