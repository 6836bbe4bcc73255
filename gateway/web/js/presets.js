// Pictures worth starting from, and sizes that people ask for. Data only.

/** @type {{ name: string, picture: Partial<import("./picture.js").Picture> }[]} */
export const SETS = [
  { name: "The talk's scene", picture: { cre: "-0.8", cim: "0.156", iter: "256" } },
  { name: "Douady's rabbit", picture: { cre: "-0.122561", cim: "0.744862", iter: "500", width: "3.4" } },
  { name: "Dendrite", picture: { cre: "0", cim: "1", iter: "300", width: "3.4" } },
  { name: "San Marco", picture: { cre: "-0.75", cim: "0", iter: "1000", width: "3.6" } },
  { name: "Siegel disk", picture: { cre: "-0.390541", cim: "-0.586788", iter: "800", width: "3.6" } },
  { name: "Airplane", picture: { cre: "-1.754878", cim: "0", iter: "500", width: "4" } },
  { name: "Seahorse spirals", picture: { cre: "-0.7453", cim: "0.1127", iter: "1000", width: "3.4" } },
  { name: "Fatou dust", picture: { cre: "0.285", cim: "0.01", iter: "500", width: "3" } },
  { name: "Cauliflower", picture: { cre: "0.25", cim: "0", iter: "1000", width: "3" } },
  { name: "Galaxies", picture: { cre: "-0.70176", cim: "-0.3842", iter: "1000", width: "3.6" } },
  { name: "Lightning", picture: { cre: "-0.4", cim: "0.6", iter: "1000", width: "3.6" } },
  { name: "Circle", picture: { cre: "0", cim: "0", iter: "256", width: "3.6" } },
];

/** @type {{ name: string, w: string, h: string }[]} */
export const SIZES = [
  { name: "Page", w: "1200", h: "800" },
  { name: "Full HD", w: "1920", h: "1080" },
  { name: "4K", w: "3840", h: "2160" },
  { name: "8K", w: "7680", h: "4320" },
  { name: "Phone", w: "1080", h: "2340" },
  { name: "Square", w: "2048", h: "2048" },
  { name: "The talk's", w: "4000", h: "2000" },
  { name: "Poster", w: "14000", h: "10000" },
];
