"""The dashboard of a cluster on RabbitMQ: what an operator sees and does when a job is unwanted, a chunk dead, the broker away."""

import pika
from conftest import SHIPPED


def state(browser, job):
    return browser.text(f"#job-{job} .state")


def steps(browser):
    """How many values the progress of a job had between its begin and its end."""
    return len([value for value in browser.progress() if 0 < value < 100])


def bury_a_chunk(cluster, job, why):
    """Does to a chunk of the job what a worker does to one that it cannot work; its id. Chunks of other jobs are thrown away."""
    form = cluster.format()
    connection = pika.BlockingConnection(pika.URLParameters(cluster.uri))
    channel = connection.channel()
    channel.confirm_delivery()
    while True:
        delivery, properties, body = channel.basic_get(f"q.chunks.{form}")
        if properties.headers["job"] == job:
            break
        channel.basic_ack(delivery.delivery_tag)
    properties.headers["reason"] = why
    channel.basic_publish("x.dead.2", f"dead.{form}", body, properties, mandatory=True)
    channel.basic_ack(delivery.delivery_tag)
    connection.close()
    return properties.message_id


def test_an_unwanted_job_is_cancelled(cluster, browser):
    job = cluster.ask(SHIPPED)
    browser.driver.get(cluster.address)
    button = f"#job-{job} [data-cancel]"
    browser.until(lambda: browser.all(button), "the job")
    browser.find(button).click()
    browser.until(lambda: state(browser, job) == "annulé", "its end")
    browser.shoot("cancelled")


def test_a_dead_chunk_is_shown_with_its_reason_and_sent_once_more(cluster, browser, generate):
    job = cluster.ask(generate("morts.csv", 20_000))
    browser.driver.get(cluster.address)
    browser.until(lambda: browser.text(f"#job-{job} td:nth-of-type(3)") not in ("", "–"), "how many chunks there are")
    dead = bury_a_chunk(cluster, job, "the worker panicked: out of range")
    browser.until(lambda: browser.all("#dead-list tbody tr"), "the dead chunk")
    told = browser.text("#dead-list tbody tr")
    assert "the worker panicked: out of range" in told and "morts.csv" in told, told
    browser.shoot("dead")
    button = browser.find("#dead-list tbody [data-requeue]")
    assert button.get_attribute("data-requeue") == dead
    button.click()
    browser.until(lambda: not browser.all("#dead-list tbody tr"), "no dead chunk")
    cluster.start("worker")
    # not "incomplet": the chunk was counted after all
    browser.until(lambda: state(browser, job) == "terminé", "the report")


def test_progress_is_told_step_by_step_and_survives_the_broker(cluster, browser, generate):
    cluster.start("worker")
    browser.remembers_progress()
    browser.driver.get(cluster.address)
    job = cluster.ask(generate("panne.csv", 400_000))
    browser.driver.get(f"{cluster.address}/jobs/{job}")
    browser.until(lambda: steps(browser) >= 3, "its first steps")
    cluster.kill_broker()
    with browser.another_tab():
        browser.driver.get(cluster.address)
        browser.until(lambda: browser.text("#alarm").startswith("Le broker ne répond plus"), "word of the broker")
        assert browser.text("#stream") == "En direct"
        browser.shoot("broker-away")
        cluster.node("again")
        browser.until(lambda: browser.text("#alarm") == "", "the broker back")
    browser.until(lambda: browser.path().startswith("/resultats/"), "the report of the job")
    seen = browser.progress()
    print("progress:", seen)
    assert seen == sorted(seen) and seen[-1] == 100, seen
