// Shows the description of the API. Nothing is asked of another host: validatorUrl would.
const place = document.getElementById("docs");
SwaggerUIBundle({ url: place.dataset.url, domNode: place, deepLinking: true, validatorUrl: null });
