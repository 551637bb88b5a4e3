"""What an analyst does, in the order of a first day: nothing is there, a file is brought, its report is read."""

import csv
import os
import signal

import pytest
from conftest import SHIPPED, TOKEN
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

LIGHT = 100_000  # bytes of a first page, all in all
WIDTHS = (360, 1280, 1920)


def test_an_empty_server_says_what_to_do(server, browser):
    browser.driver.get(server.address)
    assert browser.text("h1") == "Activité"
    browser.until(lambda: len(browser.all("table.workers tbody tr:not(.away)")) == 6, "six workers")
    assert browser.text("#panel-jobs .empty a") == "Lancer la première"
    assert browser.text("#tile-workers .big") == "6"
    browser.shoot("activity-empty")
    browser.driver.get(server.address + "/resultats")
    assert browser.text("h1") == "Pas encore de résultats"
    browser.shoot("results-empty")
    browser.find("main a.button").click()
    assert browser.path() == "/analyse"
    assert SHIPPED.name in browser.text("main table")


def test_the_first_page_is_light(server, browser):
    browser.driver.get(server.address)
    browser.until(lambda: browser.text("#stream") == "En direct", "a live page")
    events = browser.events()
    streams = {event["params"]["requestId"] for event in events if event["method"] == "Network.requestWillBeSent" and event["params"].get("type") == "EventSource"}
    finished = [event["params"] for event in events if event["method"] == "Network.loadingFinished"]
    sizes = [one["encodedDataLength"] for one in finished if one["requestId"] not in streams]
    print("bytes of the first page:", sum(sizes), sizes)
    assert len(sizes) >= 3
    assert sum(sizes) < LIGHT


def test_a_file_is_brought_watched_and_read(server, browser, generate):
    file = generate("ventes-2024.csv", 400_000)
    browser.remembers_progress()
    browser.driver.get(server.address + "/analyse")
    browser.shoot("analysis")
    browser.find("#file").send_keys(str(file))
    browser.find("#start").click()
    browser.until(lambda: browser.path().startswith(("/jobs/", "/resultats/")), "the page of the job")
    browser.shoot("job")
    browser.until(lambda: browser.path().startswith("/resultats/"), "the report of the job")
    seen = browser.progress()
    print("progress:", seen)
    assert seen[-1] == 100
    assert seen == sorted(seen)
    assert browser.text("h1") == "Rapport commercial"
    assert file.name in browser.text(".source")
    assert len(browser.all("table.rejects tbody tr")) == 10
    browser.driver.get(server.address)
    browser.until(lambda: browser.text("#panel-jobs tbody .state") == "terminé", "the job at its end")
    assert browser.text("#panel-jobs tbody th") == file.name
    # each worker tells once a second
    browser.until(lambda: any(cell.text not in ("", "0") for cell in browser.all("table.workers tbody td:nth-child(6)")), "chunks of workers")
    assert browser.all("#panel-spread svg") and browser.all("#panel-acts svg")


def test_a_file_of_the_server_is_analysed(server, browser):
    browser.driver.get(server.address + "/analyse")
    browser.find(f"[data-process='{SHIPPED.name}']").click()
    browser.until(lambda: browser.path().startswith("/resultats/"), "the report of the job")
    assert SHIPPED.name in browser.text(".source")


def test_a_job_that_ended_before_its_page_was_there_leads_to_its_report(server, browser):
    browser.driver.get(server.address)
    report = browser.find("#panel-jobs a[href^='/resultats/']").get_attribute("href")
    page = report.replace("/resultats/", "/jobs/")
    browser.driver.get(page + "#started")
    browser.until(lambda: browser.path().startswith("/resultats/"), "the report of the job")
    browser.driver.get(page)
    assert browser.path().startswith("/jobs/")


def test_each_job_leads_to_its_own_report(server, browser):
    browser.driver.get(server.address)
    reports = browser.all("#panel-jobs a[href^='/resultats/']")
    addresses = [report.get_attribute("href") for report in reports]
    assert len(set(addresses)) >= 2, addresses
    for address in addresses:
        browser.driver.get(address)
        assert address.split("/")[-1] in browser.text("#whose")
        others = {other.get_attribute("href") for other in browser.all(".others a")}
        assert others == set(addresses) - {address}


def test_an_older_report_is_made_the_newest(server, browser):
    browser.driver.get(server.address + "/resultats")
    newest = browser.text("#whose")
    browser.driver.get(browser.find(".others a").get_attribute("href"))
    older = browser.find("[data-newest]").get_attribute("data-newest")
    assert older not in newest
    for job in [older, newest.split(",")[0].split()[-1]]:
        browser.driver.get(f"{server.address}/resultats/{job}")
        browser.find("[data-newest]").click()
        browser.until(lambda: browser.path() == "/resultats", "the newest report")
        assert job in browser.text("#whose")


def test_a_table_of_the_page_is_the_table_of_the_results(server, browser):
    browser.driver.get(server.address + "/resultats")
    links = {link.get_attribute("href") for link in browser.all(".file a")}
    names = {link.split("/")[-1] for link in links}
    assert names == {file.name for file in (server.results / "tables").iterdir()} | {"rejets.csv"}
    for name in ["ca_mensuel.csv", "marge.csv"]:
        browser.script("arguments[0].click()", browser.find(f".file a[href$='{name}']"))
        file = browser.downloads / name
        browser.until(lambda: file.is_file(), name)
        assert file.read_bytes() == (server.results / "tables" / name).read_bytes()


def test_a_city_and_a_month_are_filtered_by_the_address(server, browser):
    browser.driver.get(server.address + "/resultats")
    Select(browser.find("#ville")).select_by_value("Lyon")
    browser.find(".filters button.main").click()
    browser.until(lambda: "ville=Lyon" in browser.driver.current_url, "the city in the address")
    assert browser.text("h1") == "Rapport commercial – Lyon"
    others = [name for name in ("Paris", "Marseille") if name in browser.text("#fr-mois")]
    assert others == []
    browser.script("arguments[0].click()", browser.find(".file a[href*='ca_mensuel.csv']"))
    file = browser.downloads / "ca_mensuel.csv"
    browser.until(lambda: file.is_file(), file.name)
    with open(server.results / "tables" / file.name, newline="") as whole, open(file, newline="") as part:
        expected = [row for row in csv.DictReader(whole) if row["ville"] == "Lyon"]
        assert list(csv.DictReader(part)) == expected
    assert expected
    browser.shoot("results-lyon")
    month = expected[5]["mois"]
    browser.driver.get(f"{server.address}/resultats?ville=LYON&mois={month}")
    amount = "".join(filter(str.isdigit, browser.text("#fr-mois tbody td:nth-child(4)")))
    assert int(amount) == round(float(expected[5]["total"]) * 100)
    browser.shoot("results-lyon-month")
    browser.driver.get(f"{server.address}/resultats?ville=&mois=")
    assert browser.text("h1") == "Rapport commercial"


@pytest.mark.loses
def test_what_is_not_there_is_a_page_that_says_so(server, browser):
    for path in ["/nulle-part", "/jobs/inconnu", "/resultats?ville=Atlantis", "/resultats/tables/x.csv", "/static/x.js"]:
        browser.driver.get(server.address + path)
        assert browser.text("h1") and browser.all("nav.menu"), path
        assert browser.all("main a.button"), path
    browser.shoot("not-found")


def test_the_language_is_switched_and_remembered(server, browser):
    browser.driver.get(server.address + "/resultats?ville=Lyon")
    browser.find(".aside a[lang=en]").click()
    browser.until(lambda: browser.text("h1") == "Sales report – Lyon", "English")
    browser.find(".menu a").click()
    browser.until(lambda: browser.text("h1") == "Activity", "English again")
    browser.until(lambda: browser.text("#stream") == "Live", "a live page")
    browser.until(lambda: browser.text("#tile-workers dt") == "Workers alive", "what is live, in English")
    assert browser.script("return document.documentElement.lang") == "en"
    browser.find(".aside a[lang=fr]").click()
    browser.until(lambda: browser.text("h1") == "Activité", "French")


PAGES = {"activity": "/", "results": "/resultats", "results-city": "/resultats?ville=Paris", "new": "/analyse", "missing": "/rien"}


@pytest.mark.loses
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*PAGES, "one-job"])
def test_everybody_can_read_every_page(server, browser, scheme, name):
    browser.scheme(scheme)
    if name == "one-job":
        browser.driver.get(server.address)
        browser.until(lambda: browser.all("#panel-jobs tbody th a"), "a job")
        browser.driver.get(browser.find("#panel-jobs tbody th a").get_attribute("href"))
    else:
        browser.driver.get(server.address + PAGES[name])
    if name == "activity":
        browser.until(lambda: len(browser.all("table.workers tbody tr")) == 6, "six workers")
    for width in WIDTHS:
        browser.size(width)
        wide = browser.script("return document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide on {width}"
        assert browser.axe() == [], f"{name}, {scheme}, {width}"
        browser.shoot(f"{name}-{scheme}-{width}")


def test_the_keyboard_is_enough(server, browser):
    browser.driver.get(server.address + "/analyse")
    focus = lambda: browser.script("const e = document.activeElement; return e.className || e.id || e.textContent")  # noqa: E731
    press = lambda key: ActionChains(browser.driver).send_keys(key).perform()  # noqa: E731
    press(Keys.TAB)
    assert focus() == "skip"
    press(Keys.ENTER)
    browser.until(lambda: focus() == "main", "the content")
    press(Keys.TAB)
    assert focus() == "file"
    press(Keys.TAB)
    assert focus() == "encoding"
    press(Keys.TAB)
    assert focus() == "periode"
    press(Keys.TAB)
    assert focus() == "accept-empty"
    press(Keys.TAB)
    assert focus() == "accept-incomplete"
    press(Keys.TAB)
    assert browser.driver.switch_to.active_element.get_attribute("id") == "start"


@pytest.mark.loses
def test_a_token_is_asked_for_once(guarded, browser):
    browser.driver.get(guarded.address + "/analyse")
    button = f"[data-process='{SHIPPED.name}']"
    browser.find(button).click()
    browser.until(lambda: browser.find("#token").is_displayed(), "the question")
    browser.shoot("token")
    browser.find("#token-value").send_keys(TOKEN + Keys.ENTER)
    browser.until(lambda: browser.path().startswith("/resultats/"), "the report of the job")
    browser.driver.get(guarded.address + "/analyse")
    browser.find(button).click()
    browser.until(lambda: browser.path().startswith(("/jobs/", "/resultats/")), "no question")


@pytest.mark.loses
def test_a_silent_server_is_told_and_forgiven(server, browser):
    browser.driver.get(server.address)
    browser.until(lambda: browser.text("#stream") == "En direct", "a live page")
    row = browser.find("table.workers tbody tr")
    server.process.send_signal(signal.SIGSTOP)
    try:
        browser.until(lambda: "lost" in browser.find("#stream").get_attribute("class"), "the loss")
        assert browser.text("#stream").startswith("Connexion perdue")
        browser.shoot("lost")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    browser.until(lambda: browser.text("#stream") == "En direct", "the return")
    # the nodes are the same: nothing was drawn anew
    assert row.is_displayed() and row.find_element(By.CSS_SELECTOR, "th").text


def test_several_files_are_one_analysis(server, browser, generate, tmp_path):
    first = generate("janvier.csv", 100)
    second = tmp_path / "fevrier.csv"
    second.write_text("transaction_id,date,ville,type,modele,prix,duree_location_mois\nDEUX1,2024-02-01,Lyon,vente,BMW_X3,100,\n")
    browser.driver.get(server.address + "/analyse")
    browser.find("#file").send_keys(f"{first}\n{second}")
    browser.find("#start").click()
    browser.until(lambda: browser.path().startswith("/resultats/"), "the report of the job")
    assert first.name in browser.text(".source") and second.name in browser.text(".source")
