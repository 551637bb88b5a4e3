"""The dashboard in a real browser: Chromium, headless, against the built program in a folder of its own.

AUTOCONNECT_TEST_BIN   the program; target/release/autoconnect where it is not set

Screenshots go to target/screenshots.
"""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "data" / "transactions_autoconnect.csv"
SCREENSHOTS = ROOT / "target" / "screenshots"
PATIENCE = 60  # seconds, on a busy machine
TOKEN = "un-jeton-de-plus-de-seize-signes"
# remembers every value that the progress of a job had, over the change of pages
REMEMBER = """
addEventListener("DOMContentLoaded", () => {
  const seen = () => {
    const bar = document.getElementById("progress");
    if (!bar) return;
    const all = JSON.parse(sessionStorage.getItem("seen") || "[]");
    if (all.at(-1) !== bar.value) sessionStorage.setItem("seen", JSON.stringify([...all, bar.value]));
  };
  seen();
  new MutationObserver(seen).observe(document.body, {subtree: true, childList: true, attributes: true});
});
"""


def program():
    found = Path(os.environ.get("AUTOCONNECT_TEST_BIN", ROOT / "target" / "release" / "autoconnect"))
    if not found.is_file():
        pytest.fail(f"{found}: no such program: build it, or name it with AUTOCONNECT_TEST_BIN")
    return found.resolve()


def environment(**settings):
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AUTOCONNECT_")}
    return {**ours, **settings}


class Server:
    """`autoconnect serve` on a port of its own, with six workers."""

    def __init__(self, folder, **settings):
        self.data = folder / "data"
        self.results = folder / "results"
        self.data.mkdir(parents=True)
        shutil.copy(SHIPPED, self.data)
        self.log = open(folder / "log", "wb")
        command = [program(), "serve", "--bind", "127.0.0.1:0", "--workers", "6"]
        self.process = subprocess.Popen(
            [*command, "--data", self.data, "--results", self.results],
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=folder,
            env=environment(**settings),
        )
        self.address = self.process.stdout.readline().decode().strip()
        assert self.address.startswith("http://"), (folder / "log").read_text()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.log.close()
        return code


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() in (0, -15, 143)


@pytest.fixture
def guarded(tmp_path):
    """A server that wants a token."""
    server = Server(tmp_path / "guarded", AUTOCONNECT_API__TOKEN=TOKEN)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def generate(tmp_path_factory):
    """Makes a file of transactions of so many rows, some of them wrong."""

    def generate(name, rows):
        file = tmp_path_factory.mktemp("generated") / name
        command = [program(), "generate", "--rows", rows, "--cities", 6, "--seed", 7, "--dirty", 0.01, file]
        subprocess.run([str(part) for part in command], check=True, env=environment(), cwd=file.parent, timeout=300)
        return file

    return generate


class Cluster:
    """Every role a program of its own, around a RabbitMQ node of its own; workers come when they are asked for."""

    def __init__(self, folder):
        self.folder, self.running = folder, []
        self.node("start", os.getpid())
        self.uri = self.node("uri").strip()
        for name in ["data", "data/incoming", "results"]:
            (folder / name).mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            bind = "127.0.0.1:%d" % free.getsockname()[1]
        self.settings = environment(
            AUTOCONNECT_API__BIND=bind, AUTOCONNECT_API__DATA="data", AUTOCONNECT_BROKER__URI=self.uri,
            AUTOCONNECT_PRODUCER__DATA="data", AUTOCONNECT_REDUCER__RESULTS="results", AUTOCONNECT_SALES__CHUNK_ROWS="100",
        )
        for role in ["producer", "reducer", "api"]:
            self.start(role)
        self.address = f"http://{bind}"

    def node(self, *arguments):
        command = [str(part) for part in [ROOT / "scripts" / "rabbitmq-node", *arguments]]
        told = {**os.environ, "AUTOCONNECT_TEST_NODE_DIR": str(self.folder / "node")}
        return subprocess.run(command, env=told, check=True, stdout=subprocess.PIPE, text=True, timeout=120).stdout

    def kill_broker(self):
        os.kill(int((self.folder / "node" / "server.pid").read_text()), signal.SIGKILL)

    def start(self, role):
        with open(self.folder / f"{role}.log", "ab") as log:
            command = program().with_name(role)
            self.running.append(subprocess.Popen([command], cwd=self.folder, env=self.settings, stdout=log, stderr=log))
        return self.running[-1]

    def format(self):
        """The format of the chunks, by the name of their queue, as the program itself lists it."""
        command = [program(), "queues", "list", "--json"]
        listed = subprocess.run(command, cwd=self.folder, env=self.settings, check=True, stdout=subprocess.PIPE, timeout=120)
        names = (re.fullmatch(r"q\.chunks\.(sales\.v\d+)", line["name"]) for line in json.loads(listed.stdout))
        return next(name[1] for name in names if name)

    def ask(self, file):
        """Has the cluster report on a file; the id of the job."""
        shutil.copy(file, self.folder / "data")
        body = json.dumps({"fichier": file.name}).encode()
        request = urllib.request.Request(f"{self.address}/api/process", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["job_id"]

    def stop(self):
        for program in self.running:
            program.terminate()
        codes = {program.args[0].name: program.wait(PATIENCE) for program in self.running}
        self.node("stop")
        return codes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    codes = cluster.stop()
    assert set(codes.values()) == {0}, codes


class Browser:
    """Chromium, and what we ask of every page: no error in its console, no request to another host."""

    def __init__(self, downloads):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(PATIENCE)
        self.do("Network.enable")
        self.do("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        self.downloads = downloads
        self.network = []

    def do(self, command, **arguments):
        return self.driver.execute_cdp_cmd(command, arguments)

    def size(self, width, height=900):
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def scheme(self, scheme):
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def script(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def until(self, condition, what):
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda _: condition(), what)

    def find(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector):
        """What stands there, blanks as people see them; nothing where there is no such node."""
        text = self.script("return document.querySelector(arguments[0])?.textContent ?? ''", selector)
        return " ".join(text.split())

    @contextmanager
    def another_tab(self):
        """A tab beside this one, which stays as it is."""
        first = self.driver.current_window_handle
        self.driver.switch_to.new_window("tab")
        self.size(1280)
        yield
        self.driver.close()
        self.driver.switch_to.window(first)

    def path(self):
        address = urlsplit(self.driver.current_url)
        return address.path

    def remembers_progress(self):
        """From now on every value is kept that the progress of a job has, over the change of pages."""
        self.do("Page.addScriptToEvaluateOnNewDocument", source=REMEMBER)

    def progress(self):
        return self.script("return JSON.parse(sessionStorage.getItem('seen') || '[]')")

    def shoot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        shot = self.do("Page.captureScreenshot", captureBeyondViewport=True)
        file = SCREENSHOTS / f"{name}.png"
        file.write_bytes(base64.b64decode(shot["data"]))
        print(f"screenshot {file.relative_to(ROOT)}")

    def axe(self):
        """What of the page keeps people out, seriously."""
        axe = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        self.do("Runtime.evaluate", expression=axe)
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {resultTypes: ['violations']}).then((found) => done(found.violations))"
        )
        return [
            (one["id"], one["impact"], [node["html"][:160] for node in one["nodes"][:3]])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]

    def events(self):
        """What the network did since it was asked last."""
        new = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        self.network += [event["params"]["request"]["url"] for event in new if event["method"] == "Network.requestWillBeSent"]
        return new

    def console(self):
        return [entry for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture
def browser(tmp_path, request):
    browser = Browser(tmp_path)
    browser.size(1280)
    yield browser
    try:
        if request.node.get_closest_marker("loses") is None:
            assert browser.console() == []
        browser.events()
        hosts = {urlsplit(url).netloc for url in browser.network if urlsplit(url).scheme in ("http", "https")}
        assert all(host.startswith("127.0.0.1:") for host in hosts), hosts
    finally:
        browser.driver.quit()


def pytest_configure(config):
    config.addinivalue_line("markers", "loses: the console may tell of requests that the test makes fail")
