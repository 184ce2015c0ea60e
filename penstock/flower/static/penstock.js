// What pages do beyond links and forms: selecting many rows, asking before what cannot be undone, and reloading while
// something goes on. Everything but this works without scripts.
(function () {
    "use strict";

    function boxes(name) {
        return Array.from(document.querySelectorAll("input[type=checkbox][name='" + name + "']"));
    }

    function tellCount(name) {
        var chosen = boxes(name).filter(function (box) { return box.checked; }).length;
        document.querySelectorAll("[data-counts='" + name + "']").forEach(function (place) {
            place.textContent = chosen ? chosen + " selected" : "";
        });
    }

    document.querySelectorAll("[data-selects-all]").forEach(function (all) {
        var name = all.getAttribute("data-selects-all");
        all.addEventListener("change", function () {
            boxes(name).forEach(function (box) { box.checked = all.checked; });
            tellCount(name);
        });
        boxes(name).forEach(function (box) {
            box.addEventListener("change", function () { tellCount(name); });
        });
        tellCount(name);
    });

    document.querySelectorAll("[data-confirm]").forEach(function (button) {
        button.addEventListener("click", function (event) {
            if (!window.confirm(button.getAttribute("data-confirm"))) {
                event.preventDefault();
            }
        });
    });

    var errand = document.getElementById("errand");
    if (errand && errand.getAttribute("data-over") === "no") {
        window.setTimeout(function () { window.location.reload(); }, 1000);
    }

    // Not while somebody types, chooses or reads by keyboard.
    document.querySelectorAll("[data-reload-seconds]").forEach(function (place) {
        window.setInterval(function () {
            var active = document.activeElement;
            var isBusy = active && active !== document.body;
            if (!document.hidden && !isBusy && !document.querySelector("input:checked, details[open]")) {
                window.location.reload();
            }
        }, 1000 * Number(place.getAttribute("data-reload-seconds")));
    });
}());
